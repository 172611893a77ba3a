"""How fast the package is: what is timed, and against what.

`step` times one B-MTARD step against the passes that it cannot do without, `pipeline`
the training images, `device_report` everything that one command can find out about a
GPU. `rivals` holds the same step in plain PyTorch.

May import all of `kmtard` below the commands. `rivals` imports PyTorch and nothing of
this package, so that it runs in a process without Keras.
"""
