"""The launcher's own part in runs: list, plots, figures, trash, what may be done."""
