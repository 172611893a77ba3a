"""The queue: tasks kept on disk until a separate process starts them.

This package imports only `kmtard.runs` and what that may import.
"""
