"""What a user types: one file per subcommand, which parses, calls and prints.

A command may import every room but `launcher`. Nothing imports a command except the
modules in the root that run one (`python -m kmtard.fit`).
"""
