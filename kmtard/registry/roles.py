"""The networks of a run, and what users read for them."""

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
"""Role -> its name in tables, on screens and in messages."""
