"""What waits for its turn, on the disk, and who starts it."""
