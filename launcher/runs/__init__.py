"""The launcher's own part in runs: list, plots, figures, trash, permitted actions.

Nothing here knows a screen. Runs are read and reduced by `kmtard.runs`.
"""
