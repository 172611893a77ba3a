"""Harden a user's trained model: from a Keras file and images to a robust Keras file.

A hardening is a run of a recipe that this package writes: the model is the clean
teacher and the student's start, a copy trained by TRADES or SAT is the robust teacher,
and B-MTARD distills both. This package may import every other one except `commands`; it
trains with `training` and writes its page with `report`.
"""

from kmtard.hardening.hardening import Hardened, harden

__all__ = ["Hardened", "harden"]
