"""Attacks: `attack(model, x, y) -> x_adv`, images in [0, 1], integer labels.

`PGD` is the loop they share; `fgsm`, `pgd_sat` and `pgd_trades` are the settings the
papers report under those names.
"""

from kmtard.attacks.base import Attack, AttackResult
from kmtard.attacks.gradient import PGD, fgsm, pgd_sat, pgd_trades

__all__ = ["PGD", "Attack", "AttackResult", "fgsm", "pgd_sat", "pgd_trades"]
