"""`python -m kmtard.benchmark`: the same as `kmtard benchmark`."""

import sys

from kmtard.commands.benchmark import main

if __name__ == "__main__":
    sys.exit(main(prog="python -m kmtard.benchmark"))
