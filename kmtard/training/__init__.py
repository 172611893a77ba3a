"""Turn a recipe into a trained run.

This is the only package that connects recipes, run folders, methods and data. It may
import every package of kmtard except `commands` and `benchmarks`.
"""
