"""Networks from images in [0, 1] to logits, one file per family.

All are channels-last Keras models. `convert` reads their weights from PyTorch files and
writes such files. `logits_of` removes the softmax from any model, and `adapted` makes
a network of any Keras classifier. This package imports nothing else of kmtard, except
what writes files.

Example:
    >>> import kmtard
    >>> kmtard.networks.resnet18(10, (32, 32, 3)).count_params()
    11183562
"""

from kmtard.networks import convert
from kmtard.networks.interface import interface_of
from kmtard.networks.logits import logits_of
from kmtard.networks.mobilenet_v2 import mobilenet_v2
from kmtard.networks.own_model import adapted
from kmtard.networks.preact_resnet import (
    deepmind_preact_resnet18,
    fast_preact_resnet18,
    preact_resnet18,
    preact_resnet34,
)
from kmtard.networks.resnet import resnet18, resnet50, resnet56, resnet56_option_a
from kmtard.networks.small_cnn import small_cnn
from kmtard.networks.wide_resnet import (
    deepmind_wide_resnet,
    trades_wide_resnet,
    wide_resnet_22_6,
    wide_resnet_28_10,
    wide_resnet_34_10,
    wide_resnet_70_16,
)

__all__ = [
    "adapted",
    "convert",
    "deepmind_preact_resnet18",
    "deepmind_wide_resnet",
    "fast_preact_resnet18",
    "interface_of",
    "logits_of",
    "mobilenet_v2",
    "preact_resnet18",
    "preact_resnet34",
    "resnet18",
    "resnet50",
    "resnet56",
    "resnet56_option_a",
    "small_cnn",
    "trades_wide_resnet",
    "wide_resnet_22_6",
    "wide_resnet_28_10",
    "wide_resnet_34_10",
    "wide_resnet_70_16",
]
