from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kmtard.runs import EventWriter, Run
from kmtard.runs.events import LONGEST_LINE
from kmtard.runs.history import History
from kmtard.runs.phase import MOST_METRICS, MOST_POINTS, Accuracies

pytestmark = pytest.mark.once("torch")

MakeRun = Callable[..., Run]
RESOLVED = """
[data]
batch_size = 64
[nat_teacher]
train = true
[nat_teacher.method.schedule]
epochs = 10
[adv_teacher]
train = true
[adv_teacher.method.schedule]
epochs = 20
[schedule]
epochs = 20
"""


def read(run: Run) -> History:
    history = History(run)
    assert history.poll()
    return history


def write(run: Run, *events: dict[str, Any]) -> None:
    with run.events_path.open("a") as file:
        for event in events:
            file.write(json.dumps(event) + "\n")


@pytest.fixture
def bare(make_run: MakeRun) -> Run:
    """A run that has written no events."""
    run = make_run(phases=(), state="running", recipe=RESOLVED)
    run.events_path.unlink()
    return run


def epoch(number: int, phase: str = "student", **metrics: Any) -> dict[str, Any]:
    return {
        "event": "epoch",
        "phase": phase,
        "epoch": number,
        "step": 10 * number,
        "seconds": 2.0,
        "metrics": metrics,
    }


def begun(epochs: int = 4, phase: str = "student", step: int = 0) -> dict[str, Any]:
    return {"event": "phase_started", "phase": phase, "step": step, "epochs": epochs}


def test_a_finished_run(make_run: MakeRun) -> None:
    history = read(make_run())
    assert list(history.phases) == ["nat_teacher", "adv_teacher", "student"]
    student = history.phases["student"]
    assert student.metrics["w_robust_accuracy"].x == [1, 2, 3, 4]
    assert student.best is not None and student.best.epoch == 4
    assert student.best.w_robust == pytest.approx(0.775)
    assert history.outcome == "finished" and history.method == "b_mtard"
    progress = history.progress()
    assert (progress.fraction, progress.eta_seconds) == (1.0, None)
    assert not history.poll()


def test_what_is_added_is_read_and_a_torn_line_waits(bare: Run) -> None:
    write(bare, begun(), epoch(1, loss=2.0))
    history = read(bare)
    line = json.dumps(epoch(2, loss=1.0))
    with bare.events_path.open("a") as file:
        file.write(line[:20])
    assert history.poll() and history.phases["student"].epoch == 1
    with bare.events_path.open("a") as file:
        file.write(line[20:] + "\n")
    assert history.poll() and history.phases["student"].metrics["loss"].y == [2.0, 1.0]
    assert history.skipped == 0


def test_a_resumed_run_repeats_epochs_and_the_later_ones_count(bare: Run) -> None:
    write(bare, begun(), *(epoch(n, w_robust_accuracy=n / 10) for n in (1, 2, 3)))
    write(bare, begun(step=10), epoch(2, w_robust_accuracy=0.05))
    student = read(bare).phases["student"]
    assert student.metrics["w_robust_accuracy"].x == [1, 2]
    assert student.best is not None and student.epoch == 2
    assert (student.best.epoch, student.best.w_robust) == (1, 0.1)


def test_numbers_that_are_none(bare: Run) -> None:
    write(bare, begun(), epoch(1, loss=None, a="1", b=[1], c=True, d=10**400))
    with bare.events_path.open("a") as file:
        file.write('{"event": "epoch", "phase": "student", "epoch": 2, "metrics": ')
        file.write('{"loss": NaN, "nat_loss": Infinity}}\n')
    metrics = read(bare).phases["student"].metrics
    assert metrics["loss"].y == [None, None] and metrics["nat_loss"].y == [None]
    assert metrics["d"].y == [None] and "a" not in metrics and "b" not in metrics


def test_the_time_left_is_that_of_all_phases(bare: Run) -> None:
    write(bare, begun(10, "nat_teacher"), epoch(1, "nat_teacher"))
    history = read(bare)
    progress = history.progress()
    # 9 epochs more, and 20 of each other network, in passes of equal length.
    assert progress.eta_seconds == pytest.approx((9 + 20 + 20) * 2.0)
    assert progress.text == "clean teacher 1/10, then robust teacher and student"
    assert progress.fraction == pytest.approx(1 / 50)
    assert "training ends in about 1m 38s" in progress.facts(is_running=True)
    # Nothing has measured the speed of a batch.
    assert progress.images_per_second is None
    write(bare, begun(20, "adv_teacher"))
    assert history.poll()
    assert history.progress().eta_seconds == pytest.approx((20 + 20) * 2.0)


COUNTED = """
[data]
batch_size = 10
[nat_teacher]
train = true
[nat_teacher.method]
name = "natural"
[nat_teacher.method.schedule]
epochs = 2
[adv_teacher]
weights = "robust.keras"
[method]
name = "trades"
[schedule]
epochs = 3
[attack]
steps = 10
[evaluation]
attacks = ["fgsm", "pgd_trades"]
steps = 20
"""
SIZES = {"train": 100, "epoch": 10, "test": 50}


def test_the_time_left_counts_attacks_validation_and_the_evaluation(
    make_run: MakeRun,
) -> None:
    run = make_run(phases=(), state="running", recipe=COUNTED)
    run.events_path.unlink()
    natural, robust, test = 100 + 10 * 21, 100 * 11 + 10 * 21, 50 * 22
    speed = 0.001  # seconds per pass
    at = {"images": SIZES, "steps": 10}
    write(run, {**begun(2, "nat_teacher"), **at, "time": 0})
    seconds = {"compile_seconds": 50.0, "seconds": 50.0 + natural * speed}
    write(run, {**epoch(1, "nat_teacher"), **seconds, "time": 60})
    history = read(run)
    progress = history.progress()
    work = natural + 3 * robust + 3 * test
    # The student and the evaluation are compiled, too.
    assert progress.eta_seconds == pytest.approx(work * speed + 2 * 50.0)
    assert progress.covers_test and progress.is_rough
    assert progress.fraction == pytest.approx(natural / (work + natural))
    assert progress.left.startswith("~")

    write(run, {**epoch(2, "nat_teacher"), "seconds": natural * speed, "time": 61})
    write(run, {**begun(3), **at, "time": 62})
    for number in (1, 2, 3):
        write(run, {**epoch(number), "seconds": 2.0, "time": 62 + number})
    write(run, {"event": "phase_started", "phase": "evaluation", "time": 66})
    assert history.poll()
    progress = history.progress(now=66)
    assert progress.eta_seconds == pytest.approx(3 * test * 2.0 / robust)
    assert progress.text == "evaluation" and progress.is_rough
    # The first of three networks took 10 seconds.
    write(run, {**evaluation("nat_teacher", pgd_trades=0.1), "time": 76})
    assert history.poll()
    progress = history.progress(now=81)
    assert (progress.eta_seconds, progress.is_rough) == (15, False)
    done = 2 * natural + 3 * robust
    assert progress.fraction == pytest.approx((done + test) / (done + 3 * test))


def test_the_first_epoch_of_a_process_counts_until_there_is_another(bare: Run) -> None:
    write(bare, begun(4), {**epoch(1), "seconds": 100.0})
    history = read(bare)
    assert history.phases["student"].epoch_seconds == 100.0
    write(bare, epoch(2))
    assert history.poll() and history.phases["student"].epoch_seconds == 2.0


def test_the_speed_of_each_epoch_is_a_curve(bare: Run) -> None:
    write(bare, begun(4), {**epoch(1), "steps_per_second": 5.0}, epoch(2))
    history = read(bare)
    speed = history.phases["student"].metrics["images_per_second"]
    assert (speed.x, speed.y) == ([1], [5.0 * 64])
    assert history.progress().images_per_second == 5.0 * 64


def test_a_teacher_of_an_earlier_run_has_accuracies_of_its_best_epoch(
    bare: Run,
) -> None:
    cached = {**evaluation("adv_teacher", pgd_trades=0.3), "phase": "adv_teacher"}
    write(bare, cached)
    history = read(bare)
    best = history.accuracies("adv_teacher")
    assert best is not None and best.origin == "best epoch" and not best.is_final
    assert history.evaluated("adv_teacher") is None
    write(bare, {**evaluation("adv_teacher", pgd_trades=0.2), "phase": "evaluation"})
    assert history.poll()
    final = history.evaluated("adv_teacher")
    assert final is not None and final.is_final and final.robust == 0.2
    assert history.accuracies("adv_teacher") == best


def test_steps_move_the_epoch_and_tell_the_speed(bare: Run) -> None:
    step = {"event": "step", "phase": "student", "epoch": 1, "steps": 28}
    write(bare, begun(4), *({**step, "step": n} for n in range(1, 7)))
    write(bare, {**step, "step": 7, "steps_per_second": 3.5})
    progress = read(bare).progress()
    assert progress.epoch_fraction == 0.25
    assert progress.images_per_second == 3.5 * 64
    assert progress.eta_seconds == pytest.approx(3.75 * 28 / 3.5)


def test_a_teacher_trained_before_is_not_waited_for(bare: Run) -> None:
    write(bare, begun(20), *(epoch(n) for n in range(1, 11)))
    assert read(bare).progress().fraction == 0.5


def test_the_time_worked_leaves_out_pauses_and_clocks_that_were_set(bare: Run) -> None:
    for start in (1000.0, 90_000.0, 500.0, 1e12):
        write(bare, {"event": "run_started", "time": start})
        write(bare, {"event": "warning", "time": start + 10})
        write(bare, {"event": "warning", "time": start + 4})
    history = read(bare)
    assert history.seconds == 40
    assert history.progress().eta_seconds is None


def test_the_part_of_an_epoch_after_a_resume_is_no_measure(bare: Run) -> None:
    write(bare, begun(4), epoch(1), begun(4, step=15))
    write(bare, {**epoch(2), "seconds": 0.1})
    assert read(bare).progress().eta_seconds == pytest.approx(2 * 2.0)


@pytest.mark.parametrize("replacing", [True, False])
def test_a_file_that_is_replaced_or_cut_is_read_anew(
    bare: Run, replacing: bool
) -> None:
    write(bare, begun(), epoch(1, loss=1.0), epoch(2, loss=1.0))
    history = read(bare)
    if replacing:
        bare.events_path.rename(bare.path / "old")
        write(bare, begun(7), *(epoch(n, nat_loss=1.0) for n in range(1, 6)))
    else:
        os.truncate(bare.events_path, 0)
        write(bare, begun(7))
    assert history.poll()
    assert history.phases["student"].epochs == 7
    assert "loss" not in history.phases["student"].metrics


def test_files_that_cannot_be_read(bare: Run, tmp_path: Path) -> None:
    history = History(bare)
    assert history.poll() and history.error == "There are no events yet."
    assert not history.poll()
    write(bare, begun(), epoch(1, loss=1.0))
    assert history.poll() and history.error is None
    bare.path.rename(tmp_path / "gone")
    assert history.poll() and history.error == f"{bare.path} is gone."
    assert history.phases["student"].epoch == 1
    (tmp_path / "gone").rename(bare.path)
    bare.events_path.unlink()
    os.mkfifo(bare.events_path)
    assert history.poll() and "not a regular file" in str(history.error)


def test_bytes_that_are_no_events_are_counted(bare: Run) -> None:
    lines = [
        b"\xff\xfe",
        b"[1]",
        b"{",
        b'"x"',
        b"[" * 100_000,
        json.dumps(begun()).encode(),
    ]
    bare.events_path.write_bytes(b"\n".join(lines) + b"\n")
    history = read(bare)
    assert history.skipped == 5 and "student" in history.phases


def test_a_line_without_end_takes_no_memory(bare: Run) -> None:
    bare.events_path.write_bytes(b"x" * (2 * LONGEST_LINE) + b"\n")
    write(bare, begun())
    history = read(bare)
    assert history.skipped >= 1 and "student" in history.phases


def test_failure_and_warnings(make_run: MakeRun) -> None:
    run = make_run(state="failed")
    history = read(run)
    assert (history.outcome, history.reason) == ("failed", "ValueError: [b]no[/b] luck")
    writer = EventWriter(run.events_path)
    writer.write("run_started", resumed=True, method="b-mtard")
    writer.write("warning", message="no luck")
    assert history.poll()
    assert (history.outcome, history.reason) == (None, None)
    assert history.warnings == ["no luck"]


def evaluation(role: str, **robust: float) -> dict[str, Any]:
    metrics = {
        "role": role,
        "clean_accuracy": 0.5,
        "robust_accuracy": robust,
        "w_robust_accuracy": {k: 0.25 + share / 2 for k, share in robust.items()},
    }
    return {"event": "evaluation", "metrics": metrics}


def test_the_evaluation_at_the_end_is_against_the_headline(bare: Run) -> None:
    write(bare, evaluation("student", fgsm=0.4, pgd_trades=0.3, cw=0.2))
    history = read(bare)
    assert history.evaluated("student") == Accuracies(0.5, 0.3, 0.4)
    assert history.accuracies("student") == history.evaluated("student")
    assert history.evaluated("nat_teacher") is None


def test_without_the_headline_the_students_strongest_attack_counts(bare: Run) -> None:
    write(bare, evaluation("adv_teacher", fgsm=0.2, cw=0.4))
    history = read(bare)
    assert history.evaluated("adv_teacher") == Accuracies(0.5, 0.2, 0.35, attack="fgsm")
    write(bare, evaluation("student", fgsm=0.4, cw=0.2))
    assert history.poll()
    assert history.evaluated("student") == Accuracies(0.5, 0.2, 0.35, attack="cw")
    assert history.evaluated("adv_teacher") == Accuracies(0.5, 0.4, 0.45, attack="cw")


def test_the_evaluation_may_name_its_headline_attack(bare: Run) -> None:
    both = {"fgsm": 0.4, "pgd_trades": 0.3}
    row = {"role": "student", "clean_accuracy": 0.5, "headline": "fgsm"}
    row |= {"robust_accuracy": both, "w_robust_accuracy": {"fgsm": 0.45}}
    write(bare, {"event": "evaluation", "metrics": row})
    expected = Accuracies(0.5, 0.4, 0.45, attack="fgsm")
    assert read(bare).evaluated("student") == expected


def test_an_evaluation_without_attacks_has_no_accuracies(bare: Run) -> None:
    row = {"role": "student", "clean_accuracy": 0.5, "robust_accuracy": {"a": "b"}}
    write(bare, {"event": "evaluation", "metrics": row})
    assert read(bare).evaluated("student") is None


def test_the_best_epoch_is_the_first_of_the_highest(bare: Run) -> None:
    write(bare, *(epoch(n, w_robust_accuracy=s) for n, s in enumerate((0.3, 0.7), 1)))
    write(bare, epoch(3, w_robust_accuracy=0.7), epoch(4, w_robust_accuracy=None))
    history = read(bare)
    assert history.best("student") == Accuracies(None, None, 0.7, epoch=2)
    assert history.best("nat_teacher") is None
    write(
        bare, epoch(2, clean_accuracy=0.9, robust_accuracy=0.2, w_robust_accuracy=0.5)
    )
    assert history.poll()
    assert history.best("student") == Accuracies(0.9, 0.2, 0.5, epoch=2)


def test_without_curves_all_but_the_curves_is_known(bare: Run) -> None:
    write(bare, begun(), *(epoch(n, w_robust_accuracy=n / 10) for n in (1, 2, 3)))
    history = History(bare, in_detail=False)
    history.poll()
    assert history.phases["student"].metrics == {}
    assert history.best("student") == read(bare).best("student")
    assert history.short_progress() == "3/4"


def test_short_progress_names_the_phases_but_the_students(bare: Run) -> None:
    write(bare, begun(20, "nat_teacher"), epoch(3, "nat_teacher"))
    history = read(bare)
    assert history.short_progress() == "nat 3/20"
    assert history.phases["nat_teacher"].share_done == 0.15
    write(bare, begun(40), epoch(40), {"event": "phase_started", "phase": "evaluation"})
    assert history.poll()
    assert (history.short_progress("student"), history.short_progress()) == (
        "40/40",
        "testing",
    )


def test_a_run_that_goes_on_works_until_now(bare: Run) -> None:
    at = [("run_started", 100), ("epoch", 150), ("run_stopped", 160)]
    write(bare, *({"event": kind, "time": moment} for kind, moment in at))
    history = read(bare)
    assert history.worked() == history.worked(1e9) == 60
    write(bare, {"event": "run_started", "time": 1000})
    assert history.poll()
    assert (history.worked(1005), history.worked(0)) == (65, 60)


def test_hostile_numbers_of_epochs_and_metrics_stay_small(bare: Run) -> None:
    count = 3 * MOST_POINTS
    with bare.events_path.open("w") as file:
        for number in range(1, count + 1):
            event = epoch(number, w_robust_accuracy=number / count)
            file.write(json.dumps(event) + "\n")
    write(bare, epoch(count + 1, **{f"m{n}": 1.0 for n in range(1000)}))
    student = read(bare).phases["student"]
    series = student.metrics["w_robust_accuracy"]
    assert len(series.x) <= MOST_POINTS and series.x[-1] == count
    assert student.best is not None
    assert (student.best.epoch, student.best.w_robust) == (count, 1.0)
    assert len(student.metrics) <= MOST_METRICS


def test_a_long_file_is_read_quickly_and_tells_how_far_it_is(bare: Run) -> None:
    step = {"event": "step", "phase": "student", "epoch": 1, "steps": 10, "metrics": {}}
    with bare.events_path.open("w") as file:
        for number in range(200_000):
            file.write(json.dumps({**step, "step": number % 10}) + "\n")
    history = History(bare)
    shares: list[float] = []
    thread = threading.Thread(target=history.poll)
    thread.start()
    while thread.is_alive():
        shares.append(history.reading)
        time.sleep(0.001)
    assert history.phases["student"].step == 9
    assert history.reading == 1
    assert any(0 < share < 1 for share in shares)


def test_devices_and_memory_are_those_of_the_end(bare: Run) -> None:
    memory = {"host": 2**30, "device": None, "other": 5}
    write(bare, {"event": "run_finished", "devices": ["a", 3], "peak_memory": memory})
    history = read(bare)
    assert history.devices == ["a"] and history.peak_memory == {"host": 2**30}
    damaged = {"devices": "no list", "peak_memory": ["no", "table"]}
    write(bare, {"event": "run_finished", **damaged})
    assert history.poll()
    assert history.devices == [] and history.peak_memory == {}


def test_before_its_first_batch_a_phase_compiles(bare: Run) -> None:
    write(bare, begun())
    history = read(bare)
    assert "compiling" in history.progress().facts(is_running=True)
    assert "compiling" not in history.progress().facts(is_running=False)
    write(bare, epoch(1))
    history.poll()
    facts = history.progress().facts(is_running=True)
    assert "compiling" not in facts and facts[0] == "student 1/4"
    assert facts[1].startswith("training ends in")
    write(bare, begun(4, step=10))
    history.poll()
    # The resumed process compiles again.
    assert "compiling" in history.progress().facts(is_running=True)


def test_accuracies_now_at_best_and_of_the_teachers(make_run: MakeRun) -> None:
    columns = read(make_run()).accuracy_columns("student")
    assert list(columns) == ["now", "best, 4", "clean teacher", "robust teacher"]
    assert columns["now"]["w_robust_accuracy"] == pytest.approx(0.775)
    teachers = read(make_run("b")).accuracy_columns("nat_teacher")
    assert list(teachers) == ["now", "best, 4"]
