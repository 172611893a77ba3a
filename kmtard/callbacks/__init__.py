"""Keras callbacks that control a method during `model.fit`, one file per callback.

They set rates, class weights, temperatures and phases between epochs, and check the
images. They import only `kmtard.balance` and `kmtard.backend.types`. The callbacks that
write a run folder are in `kmtard.training.callbacks`.
"""

from kmtard.callbacks.class_callback import ClassCallback
from kmtard.callbacks.class_temperatures import ClassTemperatures
from kmtard.callbacks.class_weights import ClassWeights
from kmtard.callbacks.entropy_balance import EntropyBalance
from kmtard.callbacks.input_guard import InputGuard
from kmtard.callbacks.introspection import Introspection
from kmtard.callbacks.normalization_loss_balance import NormalizationLossBalance

__all__ = [
    "ClassCallback",
    "ClassTemperatures",
    "ClassWeights",
    "EntropyBalance",
    "InputGuard",
    "Introspection",
    "NormalizationLossBalance",
]
