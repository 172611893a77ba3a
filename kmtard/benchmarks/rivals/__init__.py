"""The B-MTARD step in plain PyTorch: what our own is measured against.

Written as a PyTorch user would who wants it fast: channels-last, autocast, compiled
modules, no waiting for the device within a step. Imports PyTorch and nothing of kmtard.

The step computes what ours does, except for two things PyTorch does otherwise: the
moving variance of BatchNorm is the unbiased one, and the temperatures are not corrected
for rounding.
"""
