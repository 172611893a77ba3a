"""Measure how fast the package is.

- `step` times a B-MTARD step, and its share of the speed of matrix products.
- `against` compares our steps and attacks with plain PyTorch, in turns.
- `attacks` compares our attacks with those of other packages, in turns.
- `growth` measures how the time grows with the work.
- `pipeline` times the training images.
- `launcher` measures the terminal interface, which runs in a pseudo terminal
  (`terminal`).
- `device_report` measures everything about a GPU with one command.
- `rivals` contains the same step and attacks in plain PyTorch.

This package may import everything in kmtard except the commands. `rivals` imports
PyTorch but nothing from kmtard, so that it runs in a process without Keras.
"""
