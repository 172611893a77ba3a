"""`python -m kmtard COMMAND`: the same as `kmtard COMMAND`."""

import sys

from kmtard.commands.main import main

if __name__ == "__main__":
    sys.exit(main(prog="python -m kmtard"))
