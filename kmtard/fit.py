"""`python -m kmtard.fit`: the same as `kmtard fit`."""

import sys

from kmtard.commands.fit import main

if __name__ == "__main__":
    sys.exit(main(prog="python -m kmtard.fit"))
