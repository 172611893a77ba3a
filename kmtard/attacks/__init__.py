"""Attacks: `attack(model, x, y) -> x_adv`, images in [0, 1], integer labels.

`PGD` is the loop they share; `fgsm`, `pgd_sat`, `pgd_trades` and `cw_inf` are the
settings the papers report under those names.
"""

from kmtard.attacks.base import Attack, AttackResult
from kmtard.attacks.gradient import PGD, cw_inf, fgsm, pgd_sat, pgd_trades
from kmtard.attacks.transfer import Transfer, transfer_cw_inf, transfer_pgd_trades

__all__ = [
    "PGD",
    "Attack",
    "AttackResult",
    "Transfer",
    "cw_inf",
    "fgsm",
    "pgd_sat",
    "pgd_trades",
    "transfer_cw_inf",
    "transfer_pgd_trades",
]
