"""Keras callbacks of a recipe's training: its events, resume points and best student.

They know run folders. What drives a method in any `model.fit` is in
`kmtard.callbacks`.
"""

from kmtard.training.callbacks.best_student import BestStudent
from kmtard.training.callbacks.data_epoch import DataEpoch
from kmtard.training.callbacks.event_log import EventLog
from kmtard.training.callbacks.progress import Progress
from kmtard.training.callbacks.run_state import RunState

__all__ = ["BestStudent", "DataEpoch", "EventLog", "Progress", "RunState"]
