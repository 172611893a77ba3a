"""From a recipe to a trained run: experiment, teachers, schedules, stopping, estimates.

This is the only room where recipes, run folders, methods and data meet. It may import
every room but `commands`, `study`, `report`, `benchmarks` and `launcher`.
"""
