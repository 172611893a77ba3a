"""Pipes and the like in place of a run's files count as missing or damaged."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from kmtard.commands import fit, report
from kmtard.registry.bounded import open_regular
from kmtard.runs import Run, RunError, list_runs
from kmtard.runs.files import append_regular, lock_for_life, read_regular, refuse_links
from kmtard.runs.groups import collect
from kmtard.runs.history import History
from kmtard.runs.library import Library
from kmtard.runs.log_file import LogFile, last_lines
from kmtard.runs.results import read_all
from kmtard.runs.settings import read_settings

pytestmark = pytest.mark.once("torch")


def pipe(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def dangling(path: Path) -> None:
    path.symlink_to(path.with_name("nothing"))


def circle(path: Path) -> None:
    path.symlink_to(path)


def empty(path: Path) -> None:
    path.symlink_to("/dev/null")


MAKERS = [pipe, device, dangling, circle, empty, Path.mkdir]
each_kind = pytest.mark.parametrize("make", MAKERS)


@each_kind
def test_only_a_regular_file_is_opened(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    path = tmp_path / "a"
    make(path)
    for action in (open_regular, read_regular, append_regular):
        with pytest.raises(OSError):
            action(path)
    if not path.is_dir() or path.is_symlink():
        with pytest.raises(RunError):
            lock_for_life(path)
    assert not (tmp_path / "nothing").exists()


def test_a_link_to_a_file_is_read_and_not_appended_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "file")
    assert read_regular(link) == b"abc"
    with pytest.raises(OSError):
        append_regular(link)
    with pytest.raises(RunError, match="received a link"):
        refuse_links(tmp_path / "file", link)
    refuse_links(tmp_path / "file", tmp_path / "none")


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"abcd")
    assert read_regular(path, limit=4) == b"abcd"
    with pytest.raises(OSError, match="more than 3 bytes"):
        read_regular(path, limit=3)
    with open(path, "wb") as file:
        file.truncate(2**40)
    with pytest.raises(OSError, match="more than"):
        read_regular(path)


def replaced(path: Path, make: Callable[[Path], None]) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    make(path)


@each_kind
@pytest.mark.parametrize(
    "name",
    ["run.json", "events.jsonl", "recipe.toml", "evaluation.json", "out.log"],
)
def test_every_reader_of_a_run_goes_on(
    evaluated: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
    make: Callable[[Path], None],
    name: str,
) -> None:
    path = evaluated(0)
    other = evaluated(1)
    replaced(path / name, make)
    run = Run(path)
    run.info()
    read_settings(run)
    History(run).poll()
    LogFile(run.log_path).poll()
    assert last_lines(run.log_path, 3) == []
    read_all(path)
    Library(path.parent).scan()
    assert other in [each.path for each in list_runs(path.parent)]
    groups, problems = collect([path, other])
    assert sum(len(group.w_robust) for group in groups) >= 1
    assert (name in ("recipe.toml", "evaluation.json")) == bool(problems)
    report.main([str(path), str(other)])
    assert "Traceback" not in capsys.readouterr().err


@each_kind
@pytest.mark.parametrize("name", ["recipe.toml", "events.jsonl", "out.log"])
def test_resume_is_refused_and_starts_nothing(
    make_run: Callable[..., Run],
    capsys: pytest.CaptureFixture[str],
    make: Callable[[Path], None],
    name: str,
) -> None:
    path = make_run(state="stopped").path
    replaced(path / name, make)
    assert fit.main(["--resume", str(path)]) == 1
    assert name in capsys.readouterr().err
    assert not (path / "nothing").exists()
