"""Keras callbacks, one job a file."""

from kmtard.callbacks.best_student import BestStudent
from kmtard.callbacks.data_epoch import DataEpoch
from kmtard.callbacks.entropy_balance import EntropyBalance
from kmtard.callbacks.event_log import EventLog
from kmtard.callbacks.input_guard import InputGuard
from kmtard.callbacks.normalization_loss_balance import NormalizationLossBalance
from kmtard.callbacks.progress import Progress
from kmtard.callbacks.run_state import RunState

__all__ = [
    "BestStudent",
    "DataEpoch",
    "EntropyBalance",
    "EventLog",
    "InputGuard",
    "NormalizationLossBalance",
    "Progress",
    "RunState",
]
