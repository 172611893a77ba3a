"""`python -m kmtard.benchmark`; see `kmtard.benchmarks`."""

import sys

from kmtard.benchmarks.command import main

if __name__ == "__main__":
    sys.exit(main())
