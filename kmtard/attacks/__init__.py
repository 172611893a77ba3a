"""Attacks: `attack(model, x, y) -> x_adv`, images in [0, 1], integer labels.

`PGD` is the loop of the gradient family; `fgsm`, `pgd_sat`, `pgd_trades` and `cw_inf`
are the settings that the papers report under those names. `AutoAttack` is that of
RobustBench.

One file per family of attacks, and what they share: `base`, `classifier`, `arguments`,
`noise` and the geometry of the balls. May import `kmtard.backend` and `kmtard.losses`.
"""

# First: it refuses other backends of Keras before Keras is imported.
from kmtard import backend as _backend  # noqa: F401
from kmtard.attacks.apgd import APGD, apgd_ce, apgd_dlr, apgd_t
from kmtard.attacks.autoattack import AutoAttack, autoattack_rand
from kmtard.attacks.base import Attack, AttackResult
from kmtard.attacks.fab import FAB, fab_t
from kmtard.attacks.gradient import PGD, cw_inf, fgsm, pgd_sat, pgd_trades
from kmtard.attacks.gradient_estimation import GradientEstimation, ge
from kmtard.attacks.rays import RayS, rays_100
from kmtard.attacks.square import Square, square_100
from kmtard.attacks.transfer import Transfer, transfer_cw_inf, transfer_pgd_trades

__all__ = [
    "APGD",
    "FAB",
    "PGD",
    "Attack",
    "AttackResult",
    "AutoAttack",
    "GradientEstimation",
    "RayS",
    "Square",
    "Transfer",
    "apgd_ce",
    "apgd_dlr",
    "apgd_t",
    "autoattack_rand",
    "cw_inf",
    "fab_t",
    "fgsm",
    "ge",
    "pgd_sat",
    "pgd_trades",
    "rays_100",
    "square_100",
    "transfer_cw_inf",
    "transfer_pgd_trades",
]
