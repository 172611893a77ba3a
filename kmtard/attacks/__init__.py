"""Attacks: `attack(model, x, y) -> x_adv`, images in [0, 1], integer labels.

`PGD` is the general gradient attack; `fgsm`, `pgd_sat`, `pgd_trades` and `cw_inf` are
its settings in the papers. `AutoAttack` is the attack of RobustBench's leaderboard.

There is one file per family of attacks. `base`, `classifier`, `arguments`, `noise` and
the geometry of the balls are shared. Attacks may import `kmtard.backend`,
`kmtard.losses` and `kmtard.networks.logits`.
"""

# First, because it refuses an unsupported backend before Keras is imported.
from kmtard import backend as _backend  # noqa: F401
from kmtard.attacks.apgd import APGD, apgd_ce, apgd_dlr, apgd_t
from kmtard.attacks.autoattack import AutoAttack, autoattack_rand
from kmtard.attacks.base import Attack, AttackResult
from kmtard.attacks.cw_l2 import CWL2
from kmtard.attacks.ddn import DDN
from kmtard.attacks.deepfool import DeepFool
from kmtard.attacks.eot import EOT
from kmtard.attacks.fab import FAB, fab_t
from kmtard.attacks.fmn import FMN
from kmtard.attacks.gradient import PGD, cw_inf, fgsm, pgd_sat, pgd_trades
from kmtard.attacks.gradient_estimation import GradientEstimation, ge
from kmtard.attacks.hop_skip_jump import HopSkipJump
from kmtard.attacks.momentum import (
    MomentumFGSM,
    di2_fgsm,
    mi_fgsm,
    ni_fgsm,
    ti_fgsm,
)
from kmtard.attacks.rays import RayS, rays_100
from kmtard.attacks.square import Square, square_100
from kmtard.attacks.targets import Ensemble
from kmtard.attacks.transfer import (
    Transfer,
    transfer_cw_inf,
    transfer_di2_fgsm,
    transfer_mi_fgsm,
    transfer_ni_fgsm,
    transfer_pgd_trades,
    transfer_ti_fgsm,
)

__all__ = [
    "APGD",
    "CWL2",
    "DDN",
    "EOT",
    "FAB",
    "FMN",
    "PGD",
    "Attack",
    "AttackResult",
    "AutoAttack",
    "DeepFool",
    "Ensemble",
    "GradientEstimation",
    "HopSkipJump",
    "MomentumFGSM",
    "RayS",
    "Square",
    "Transfer",
    "apgd_ce",
    "apgd_dlr",
    "apgd_t",
    "autoattack_rand",
    "cw_inf",
    "di2_fgsm",
    "fab_t",
    "fgsm",
    "ge",
    "mi_fgsm",
    "ni_fgsm",
    "pgd_sat",
    "pgd_trades",
    "rays_100",
    "square_100",
    "ti_fgsm",
    "transfer_cw_inf",
    "transfer_di2_fgsm",
    "transfer_mi_fgsm",
    "transfer_ni_fgsm",
    "transfer_pgd_trades",
    "transfer_ti_fgsm",
]
