"""The B-MTARD step in plain PyTorch, for comparison with our step.

It is optimized for speed: channels-last memory, autocast, compiled modules, and no
waiting for the device within a step. This package imports PyTorch and nothing from
kmtard.

The step computes the same values as ours, with two exceptions. PyTorch's moving
variance of BatchNorm is unbiased, and the temperatures are not corrected for rounding.
"""
