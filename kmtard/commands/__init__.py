"""The commands: one file per subcommand, which parses arguments, calls and prints.

A command may import everything except `launcher`. Only the modules that run a command,
such as `kmtard/fit.py` for `python -m kmtard.fit`, import one.
"""
