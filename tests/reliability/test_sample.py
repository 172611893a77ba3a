"""One kill and a full disk: a small sample of the long tests."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.reliability.children import Children
from tests.reliability.conftest import Unbroken
from tests.reliability.same_end import check_said, check_same
from tests.reliability.server import prepare

pytestmark = pytest.mark.once("torch")


def test_a_run_survives_a_full_disk_and_a_kill_within_a_resume_point(
    children: Children, unbroken: Unbroken, tmp_path: Path
) -> None:
    prepare(tmp_path)
    places = unbroken.places()
    full = {"kind": "short", "at": places["write student.keras"][0], "lasting": True}
    ended = children.resume(tmp_path, fault=full)
    check_said(ended, "student.keras", "No space left on device")
    # Inside the first write of a resume point after the restart.
    kill = {"kind": "kill", "at": 6, "when": "inside"}
    ended = children.resume(tmp_path, fault=kill)
    assert ended.code == -signal.SIGKILL, ended.text
    ended = children.resume(tmp_path)
    assert ended.code == 0, ended.text
    check_same(unbroken, tmp_path)
