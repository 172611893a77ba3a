"""What a run leaves behind and how it is read: folder, events, results, tables, queue.

Light modules live here: command line, training, reports and launcher share them, and
none of them loads Keras or NumPy. They may import `kmtard.registry` and nothing above.
"""

from kmtard.runs.events import EVENTS, EventReader, EventWriter
from kmtard.runs.files import RunError, lock_for_life, move_into_place, write_atomic
from kmtard.runs.folder import FINAL, Run, list_runs, safe_name
from kmtard.runs.processes import is_same_process, process_start_time

__all__ = [
    "EVENTS",
    "FINAL",
    "EventReader",
    "EventWriter",
    "Run",
    "RunError",
    "is_same_process",
    "list_runs",
    "lock_for_life",
    "move_into_place",
    "process_start_time",
    "safe_name",
    "write_atomic",
]
