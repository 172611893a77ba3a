from __future__ import annotations

import json
import os

import pytest

from kmtard.runs import EventWriter, Run
from kmtard.runs.summary import SummaryReader
from tests.kmtard.runs.test_results import of_evaluation, of_training, record

pytestmark = pytest.mark.once("torch")


def read(run):
    return SummaryReader(run).read()


def test_a_finished_run_shows_its_best_epoch_until_it_is_judged(make_run):
    run = make_run(epochs=4, done=4)
    reader = SummaryReader(run)
    row = reader.read()

    assert (row.state, row.method, row.data) == ("finished", "b-mtard", "digits")
    assert row.network == "small_cnn"
    assert (row.score.epoch, row.score.origin) == (4, "epoch 4")
    assert row.score.w_robust == pytest.approx(0.775)
    assert set(row.teachers) == {"nat_teacher", "adv_teacher"}
    assert (row.progress, row.done, row.note) == ("4/4", 1.0, "")

    run.evaluation_path.write_text(json.dumps(record()))
    final = reader.read().score
    assert (final.clean, final.robust, final.w_robust) == (0.75, 0.5, 0.625)
    assert (final.epoch, final.attack, final.origin) == (None, "pgd_trades", "test")


@pytest.mark.parametrize("old", [of_training, of_evaluation])
def test_records_of_version_0_1_count_as_well(make_run, old):
    run = make_run(state="stopped")
    run.evaluation_path.write_text(json.dumps(old()))

    score = read(run).score
    assert score.origin == "test"
    assert score.w_robust == 0.5 * score.clean + 0.5 * score.robust


def test_a_record_without_the_student_leaves_the_best_epoch(make_run):
    run = make_run(state="stopped")
    content = {**record(), "networks": record()["networks"][:1]}
    run.evaluation_path.write_text(json.dumps(content))

    assert read(run).score.epoch == 4


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
    reader = SummaryReader(make_run())
    row = reader.read()
    monkeypatch.setattr("builtins.open", None)
    monkeypatch.setattr("pathlib.Path.read_bytes", None)

    assert reader.read() is row


def test_a_running_run_grows_and_its_rewritten_file_starts_anew(make_run):
    run = make_run(state="running", done=2)
    reader = SummaryReader(run)
    assert reader.read().progress == "2/4"

    events = EventWriter(run.events_path)
    events.write("step", phase="student", epoch=3, step=1)
    metrics = {"w_robust_accuracy": 0.99}
    events.write("epoch", phase="student", epoch=3, metrics=metrics)
    assert (reader.read().progress, reader.read().score.epoch) == ("3/4", 3)

    run.events_path.write_text("")
    assert reader.read().score is None


def test_a_running_run_has_progress_time_left_and_trend(make_run):
    run = make_run(state="running", epochs=4, done=2, phases=["student"])
    row = read(run)
    assert row.fraction == pytest.approx(0.5)
    assert row.seconds_left is not None and row.left
    assert row.trend == pytest.approx((0.45625, 0.5625))

    EventWriter(run.events_path).write(
        "phase_started", phase="student", step=20, epochs=4
    )
    assert read(run).progress == "compiling"
    EventWriter(run.events_path).write("run_stopped")
    row = read(run)
    assert (row.progress, row.left, row.seconds_left) == ("2/4", "", None)


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
    note = f"Expected regular files, which these are not: {name}."
    assert (row.state, row.note) == ("damaged", note)


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


@pytest.mark.parametrize("in_detail", [False, True])
def test_only_the_newest_step_is_parsed(make_run, monkeypatch, in_detail):
    run = make_run()
    events = EventWriter(run.events_path)
    for step in range(10):
        events.write("step", phase="student", epoch=1, step=step, metrics={})
    reader = SummaryReader(run, in_detail=in_detail)
    parsed = []
    real = json.loads
    monkeypatch.setattr(
        "kmtard.runs.events.json.loads", lambda text: parsed.append(text) or real(text)
    )
    reader.read()
    steps = [text for text in parsed if str(text).startswith('{"event": "step"')]
    assert len(steps) == 1


def test_the_history_in_detail_where_they_are_asked_for(make_run):
    run = make_run()
    for in_detail in (False, True):
        reader = SummaryReader(run, in_detail=in_detail)
        reader.read()
        assert bool(reader.history.phases["student"].metrics) is in_detail
