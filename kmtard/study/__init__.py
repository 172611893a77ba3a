"""Studies: a grid of runs, where they run, and what they add up to.

`grid` makes the cells, `named` holds the paper's tables as data, `cells_state` tells
from the run folders what is left to do, `local` and `slurm` are the places that runs
are given to, `size` estimates them before they start, and `conduct` sees them through.
The room imports `kmtard.training` and what lies below; only the commands import it.
"""
