"""The queue: what waits for its turn, on the disk, and the process that starts it.

Launcher and studies share it. It imports the rest of `kmtard.runs` and nothing above.
"""
