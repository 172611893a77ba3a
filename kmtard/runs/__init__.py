"""The files of a run, and everything that reads them.

- `folder`, `files`, `processes`, `signals`: the run folder, its owner, and signals to
  its process.
- `events`, `phase`, `usage`, `workload`, `history`: events, and the only place that
  aggregates them; how much a recipe's phases compute, for the time left.
- `results`, `result_tables`: the results of an evaluation.
- `settings`, `summary`, `library`, `comparison`, `groups`: the settings of a run, one
  run in brief, all runs in a folder, several runs side by side, and one row per setting
  with the mean over its seeds.
- `notes`, `query`, `listing`: the user's note and tags, the filter, and the columns of
  the list of runs.
- `watch`: runs that have ended since the last look.
- `studies`, `study_task`, `study_views`, `outline`: the folder of a study, its command,
  its cells as they are now, and the list of runs in which a study is one line.
- `replay`, `revision`: whether a repeated run gives the same results, and the commit of
  the source files.
- `tables`, `formats`: tables in every output format, numbers as text.
- `documents`, `log_file`, `visible`: files and text whose content cannot be trusted.
- `places`: folders for the user's own files, outside all runs folders.
- `queue/`: tasks that wait to be started.

The command line, training, reports and the launcher share these modules. None of them
loads Keras or NumPy. They import only `kmtard.registry` from the rest of kmtard.
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
