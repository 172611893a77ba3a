"""`python -m kmtard.study`: the same as `kmtard study`."""

import sys

from kmtard.commands.study import main

if __name__ == "__main__":
    sys.exit(main(prog="python -m kmtard.study"))
