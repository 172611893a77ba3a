"""`python -m kmtard.report`: the same as `kmtard report`."""

import sys

from kmtard.commands.report import main

if __name__ == "__main__":
    sys.exit(main(prog="python -m kmtard.report"))
