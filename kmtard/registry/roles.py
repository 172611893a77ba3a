"""The roles of the networks in a run, and the labels that users see."""

from __future__ import annotations

from typing import Literal, TypeAlias

Role: TypeAlias = Literal["student", "nat_teacher", "adv_teacher"]

TEACHERS: tuple[Role, Role] = ("nat_teacher", "adv_teacher")
ROLES: tuple[Role, ...] = ("student", *TEACHERS)
LABELS = {
    "student": "student",
    "nat_teacher": "clean teacher",
    "adv_teacher": "robust teacher",
}
"""Role -> its label in tables, on screens and in messages."""
