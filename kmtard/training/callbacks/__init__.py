"""Keras callbacks for training a recipe: events, checkpoints and the best student.

They write to the run folder. Callbacks that a method needs in any `model.fit` are in
`kmtard.callbacks`.
"""

from kmtard.training.callbacks.best_student import BestStudent
from kmtard.training.callbacks.data_epoch import DataEpoch
from kmtard.training.callbacks.event_log import EventLog
from kmtard.training.callbacks.progress import Progress
from kmtard.training.callbacks.run_state import RunState

__all__ = ["BestStudent", "DataEpoch", "EventLog", "Progress", "RunState"]
