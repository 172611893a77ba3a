from __future__ import annotations

import json

import pytest

from kmtard.runs import RunError
from kmtard.runs.notes import Notes, changed_tags, read_notes, write_notes
from kmtard.runs.summary import SummaryReader

pytestmark = pytest.mark.once("torch")


def test_a_note_and_tags_are_kept_in_the_run_folder(make_run):
    run = make_run()
    assert read_notes(run) == Notes()
    write_notes(run, Notes("seed 1 looks [b]odd[/b] 實驗", ("final", "a-1", "final")))
    assert read_notes(run) == Notes("seed 1 looks [b]odd[/b] 實驗", ("a-1", "final"))
    assert json.loads(run.notes_path.read_text())["schema"] == 1
    assert changed_tags(run, ["final", "none"], ["new"]) == ("a-1", "new")
    assert read_notes(run).text.startswith("seed 1")


def test_the_summary_shows_them_at_once(make_run):
    run = make_run()
    reader = SummaryReader(run)
    assert reader.read().notes == Notes()
    write_notes(run, Notes("odd", ("final",)))
    assert reader.read().notes == Notes("odd", ("final",))


@pytest.mark.parametrize(
    "content",
    [
        *("", "{", "[]", "3", '{"note": 3, "tags": "ab"}', '{"tags": [3, "a b", {}]}'),
        '{"tags": {"a": 1}}',
        "[" * 60_000,
    ],
)
def test_a_damaged_file_holds_nothing(make_run, content):
    run = make_run()
    run.notes_path.write_text(content)
    assert read_notes(run) == Notes()
    write_notes(run, Notes("new"))
    assert read_notes(run).text == "new"


def test_a_newer_file_is_neither_read_nor_replaced(make_run):
    run = make_run()
    run.notes_path.write_text('{"schema": 2, "note": "x"}')
    with pytest.raises(RunError, match="schema 2"):
        read_notes(run)
    with pytest.raises(RunError, match="Update kmtard"):
        write_notes(run, Notes("new"))
    assert json.loads(run.notes_path.read_text())["note"] == "x"
    assert "schema 2" in SummaryReader(run).read().note


@pytest.mark.parametrize(
    "notes",
    [
        Notes(tags=("a b",)),
        Notes(tags=("-a",)),
        Notes(tags=("a" * 25,)),
        Notes(tags=("\x1b[31m",)),
        Notes(tags=tuple(f"t{n}" for n in range(17))),
        Notes(text="x" * 2001),
        Notes(text="two\nlines"),
    ],
)
def test_what_cannot_be_a_note_or_tag_is_refused(make_run, notes):
    run = make_run()
    with pytest.raises(RunError):
        write_notes(run, notes)
    assert not run.notes_path.exists()


def test_a_link_is_not_followed(make_run, tmp_path):
    run = make_run()
    (tmp_path / "mine").write_text("mine")
    run.notes_path.symlink_to(tmp_path / "mine")
    with pytest.raises(RunError, match="link"):
        write_notes(run, Notes("new"))
    assert (tmp_path / "mine").read_text() == "mine"
