"""Runs a recipe that is a Python program, and trains any other one."""

import runpy
import sys

if sys.argv[1].endswith(".py"):
    del sys.argv[0]
    runpy.run_path(sys.argv[0], run_name="__main__")
else:
    from kmtard.commands.fit import main

    sys.exit(main(prog="python -m kmtard.fit"))
