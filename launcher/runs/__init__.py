"""What the files of runs say, whatever shows it."""
