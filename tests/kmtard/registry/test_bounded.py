"""Only regular files of bounded size are opened."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kmtard.registry.bounded import lies_within, read_bounded

pytestmark = pytest.mark.once("torch")


def test_a_file_and_a_link_to_it_are_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"1234")
    (tmp_path / "link").symlink_to("file")
    assert read_bounded(tmp_path / "file", 4) == b"1234"
    assert read_bounded(tmp_path / "link", 4) == b"1234"
    with pytest.raises(OSError, match="more than 3 bytes"):
        read_bounded(tmp_path / "file", 3)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("pipe", "it is a pipe"),
        ("folder", "it is a folder"),
        ("to_pipe", "it is a pipe"),
        ("to_folder", "it is a folder"),
        ("to_device", "it is a device"),
        ("gone", "No such file"),
        ("to_gone", "No such file"),
        ("circle", "Too many levels"),
    ],
)
def test_anything_else_is_told(tmp_path: Path, name: str, reason: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    targets = {"to_pipe": "pipe", "to_folder": "folder", "to_device": "/dev/zero"}
    for link, target in {**targets, "to_gone": "gone", "circle": "circle"}.items():
        (tmp_path / link).symlink_to(target)
    with pytest.raises(OSError) as caught:
        read_bounded(tmp_path / name, 2**20)
    assert reason in caught.value.strerror


def test_a_pipe_put_in_the_place_of_a_file_does_not_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    regular = os.stat(tmp_path / "file")
    monkeypatch.setattr(os, "stat", lambda path: regular)
    with pytest.raises(OSError, match="it is a pipe"):
        read_bounded(tmp_path / "pipe", 1)


def test_links_do_not_leave_a_folder(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "inside").mkdir()
    (tmp_path / "in" / "out").symlink_to(tmp_path)
    assert lies_within(tmp_path / "in", tmp_path / "in")
    assert lies_within(tmp_path / "in" / "deep" / "er", tmp_path / "in")
    assert not lies_within(tmp_path / "in" / "out", tmp_path / "in")
    assert not lies_within(tmp_path / "in" / ".." / "x", tmp_path / "in")
    assert not lies_within(tmp_path / "inside", tmp_path / "in")
