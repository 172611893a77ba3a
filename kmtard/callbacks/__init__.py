"""Keras callbacks, one job a file."""

from kmtard.callbacks.best_student import BestStudent
from kmtard.callbacks.class_callback import ClassCallback
from kmtard.callbacks.class_temperatures import ClassTemperatures
from kmtard.callbacks.class_weights import ClassWeights
from kmtard.callbacks.data_epoch import DataEpoch
from kmtard.callbacks.entropy_balance import EntropyBalance
from kmtard.callbacks.event_log import EventLog
from kmtard.callbacks.input_guard import InputGuard
from kmtard.callbacks.introspection import Introspection
from kmtard.callbacks.normalization_loss_balance import NormalizationLossBalance
from kmtard.callbacks.progress import Progress
from kmtard.callbacks.run_state import RunState

__all__ = [
    "BestStudent",
    "ClassCallback",
    "ClassTemperatures",
    "ClassWeights",
    "DataEpoch",
    "EntropyBalance",
    "EventLog",
    "InputGuard",
    "Introspection",
    "NormalizationLossBalance",
    "Progress",
    "RunState",
]
