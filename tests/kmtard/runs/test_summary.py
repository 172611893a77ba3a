from __future__ import annotations

import json
import os

import pytest
from launcher.runs.row import RowReader

from kmtard.runs import EventWriter, Run


def read(run):
    return RowReader(run).read()


def test_a_finished_run_shows_its_best_epoch_until_it_is_judged(make_run):
    run = make_run(epochs=4, done=4)
    reader = RowReader(run)
    row = reader.read()

    assert (row.state, row.method, row.data) == ("finished", "b-mtard", "digits")
    assert row.network == "small_cnn"
    assert (row.score.epoch, row.score.origin) == (4, "epoch 4")
    assert row.score.w_robust == pytest.approx(0.775)
    assert set(row.teachers) == {"nat_teacher", "adv_teacher"}
    assert (row.progress, row.done, row.note) == ("4/4", 1.0, "")

    student = {
        "role": "student",
        "clean_accuracy": 0.98,
        "robust_accuracy": {"fgsm": 0.8, "pgd_sat": 0.7},
        "w_robust_accuracy": {"fgsm": 0.89, "pgd_sat": 0.84},
    }
    run.evaluation_path.write_text(json.dumps({"rows": [{"role": "x"}, student]}))
    judged = reader.read().score
    assert (judged.clean, judged.robust, judged.w_robust) == (0.98, 0.7, 0.84)
    assert (judged.epoch, judged.attack, judged.origin) == (None, "pgd_sat", "test")


def test_an_evaluation_alone_counts_as_well(make_run):
    run = make_run(state="stopped")
    column = {"accuracy": 0.5, "w_robust_accuracy": 0.7}
    report = {"clean_accuracy": 0.9, "attacks": {"pgd_trades": column, "ge": {}}}
    run.evaluation_path.write_text(json.dumps(report))

    assert read(run).score.w_robust == 0.7


@pytest.mark.parametrize(
    "state", ["finished", "stopped", "failed", "crashed", "remote", "running"]
)
def test_states_are_told_with_what_went_wrong(make_run, state):
    row = read(make_run(state=state))

    assert row.state == state
    reasons = {"failed": "ValueError: [b]no[/b] luck", "crashed": "Its process ended"}
    assert row.note.startswith(reasons.get(state, ""))
    assert bool(row.note) == (state in reasons)
    assert row.host


def test_unchanged_files_are_not_read_again(make_run, monkeypatch):
    reader = RowReader(make_run())
    row = reader.read()
    monkeypatch.setattr("builtins.open", None)
    monkeypatch.setattr("pathlib.Path.read_bytes", None)

    assert reader.read() is row


def test_a_running_run_grows_and_its_rewritten_file_starts_anew(make_run):
    run = make_run(state="running", done=2)
    reader = RowReader(run)
    assert reader.read().progress == "2/4"

    events = EventWriter(run.events_path)
    events.write("step", phase="student", epoch=3, step=1)
    metrics = {"w_robust_accuracy": 0.99}
    events.write("epoch", phase="student", epoch=3, metrics=metrics)
    assert (reader.read().progress, reader.read().score.epoch) == ("3/4", 3)

    run.events_path.write_text("")
    assert reader.read().score is None


@pytest.mark.parametrize("name", ["events.jsonl", "run.json", "evaluation.json"])
@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00\n", b"[]\n", b"\n" * 9])
def test_damaged_files_leave_a_row(make_run, name, content):
    run = make_run()
    (run.path / name).write_bytes(content)

    row = read(run)
    assert row.name == run.name
    assert row.method == "b-mtard"


@pytest.mark.parametrize("text", ["", "[[[", "method = 1", "[method]\nname = [1]"])
def test_a_damaged_recipe_leaves_a_row(make_run, text):
    run = make_run(recipe=text)

    assert read(run).state == "finished"
    assert read(run).data == ""


@pytest.mark.parametrize("name", ["events.jsonl", "run.json", "evaluation.json"])
def test_what_is_no_file_is_not_opened(make_run, name):
    run = make_run()
    (run.path / name).unlink(missing_ok=True)
    os.mkfifo(run.path / name)

    row = read(run)
    assert (row.state, row.note) == ("damaged", f"{name}: expected a file.")


def test_a_process_number_that_cannot_be_is_no_traceback(make_run):
    run = make_run(state="running")
    info = {**run.info(), "pid": 10**30, "process_start": None}
    run.info_path.write_text(json.dumps(info))

    assert read(run).state in ("damaged", "crashed")


def test_a_folder_without_an_owner_is_unknown(tmp_path):
    (tmp_path / "recipe.toml").write_text("")

    row = read(Run(tmp_path))
    assert (row.state, row.score, row.progress) == ("unknown", None, "")
    assert "run.json" in row.note


def test_steps_are_not_parsed(make_run, monkeypatch):
    run = make_run()
    events = EventWriter(run.events_path)
    for step in range(10):
        events.write("step", phase="student", epoch=1, step=step, metrics={})
    parsed = []
    monkeypatch.setattr(
        "kmtard.runs.events.json.loads", lambda text: parsed.append(text) or {}
    )
    RowReader(run)._follow()
    assert parsed
    assert not [text for text in parsed if '"step"' in text.partition(",")[0]]
