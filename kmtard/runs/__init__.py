"""What a run leaves behind, and everything that reads it.

- `folder`, `files`, `processes`, `signals`: the run folder, its owner, its signals.
- `events`, `phase`, `history`: events, and the one place where they add up.
- `results`, `result_tables`: what an evaluation found.
- `settings`, `summary`, `library`, `comparison`, `groups`: one run in brief, all runs
  of a folder, several runs beside each other, the seeds of one setting in one row.
- `tables`, `formats`: tables in each of their forms, numbers as text.
- `documents`, `log_file`, `visible`: files and text that may hold anything.
- `places`: the user's own files, outside every folder of runs.
- `queue/`: runs that wait for their turn.

Command line, training, reports and launcher share these modules. None of them loads
Keras or NumPy. They may import `kmtard.registry`, and nothing above.
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
