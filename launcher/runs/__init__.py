"""What the launcher adds to runs: plots, figures, trash and permitted actions.

Nothing here knows a screen. `kmtard.runs` reads, reduces and formats runs.
"""
