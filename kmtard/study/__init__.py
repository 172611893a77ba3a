"""Studies: a grid of runs, the places that execute them, and the resulting table.

`grid` makes the cells, and `named` holds the studies of the paper's tables as data.
`progress` reads from the run folders what is left to do. `local` and `slurm` are the
places that execute runs. `forecast` estimates disk and time before the runs start, with
`measure` in a separate process. `conduct` runs a study from start to end. This room
imports `kmtard.training` and the rooms below it; only the commands import it.
"""
