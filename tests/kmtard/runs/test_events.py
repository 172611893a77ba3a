"""Events: complete lines and finite numbers, read while another process writes."""

from __future__ import annotations

import errno
import json
import math
import os
import random
import re
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kmtard.runs import RunError, events
from kmtard.runs.events import (
    EVENTS,
    LONGEST_LINE,
    EventReader,
    EventStream,
    EventWriter,
)

pytestmark = pytest.mark.once("torch")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


@pytest.mark.parametrize("event", EVENTS)
def test_an_event_is_one_line_with_name_time_and_fields(path: Path, event: str) -> None:
    before = time.time()
    EventWriter(path).write(event, step=3, metrics={"loss": 0.5}, note="a\nb")
    (line,) = path.read_text().splitlines()
    record = json.loads(line)
    assert before <= record.pop("time") <= time.time()
    assert re.fullmatch("[0-9a-f]{8}", record.pop("crc32"))
    assert record == {
        "event": event,
        "step": 3,
        "metrics": {"loss": 0.5},
        "note": "a\nb",
    }


def test_an_unknown_event_is_refused_and_leaves_no_file(path: Path) -> None:
    with pytest.raises(ValueError, match="run_started.*Received: 'run_start'"):
        EventWriter(path).write("run_start")
    assert not path.exists()


@pytest.mark.parametrize("name", ["event", "time", "non_finite"])
def test_a_field_may_not_shadow_a_key_of_the_record(path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=name):
        EventWriter(path).write("step", **{name: 1})


def test_numbers_that_are_not_finite_become_null_and_are_named(path: Path) -> None:
    EventWriter(path).write(
        "epoch",
        epoch=1,
        loss=math.nan,
        metrics={"a": math.inf, "b": 1.0, "deep": {"c": np.float32("-inf")}},
        losses=[1.0, np.array(np.nan)],
    )

    def refuse(token: str) -> None:
        pytest.fail(f"{token} is not JSON")

    record = json.loads(path.read_text(), parse_constant=refuse)
    assert record["loss"] is None
    assert record["metrics"] == {"a": None, "b": 1.0, "deep": {"c": None}}
    assert record["losses"] == [1.0, None]
    assert record["non_finite"] == ["loss", "metrics.a", "metrics.deep.c", "losses.1"]


def test_scalars_of_array_libraries_become_plain_numbers(path: Path) -> None:
    values = {
        "f32": np.float32(0.5),
        "i64": np.int64(7),
        "yes": np.bool_(True),
        "array": np.array(2.5),
    }
    EventWriter(path).write("step", metrics=values, pair=(np.float64(1), None))
    (record,) = EventReader(path).read_all()
    assert record["metrics"] == {"f32": 0.5, "i64": 7, "yes": True, "array": 2.5}
    assert record["metrics"]["yes"] is True
    assert record["pair"] == [1.0, None]
    assert "non_finite" not in record


def test_a_value_that_is_no_json_is_refused_before_anything_is_written(
    path: Path,
) -> None:
    with pytest.raises(TypeError, match="not JSON serializable"):
        EventWriter(path).write("step", value=object())
    assert not path.exists()


def test_a_torn_last_line_is_closed_and_costs_only_itself(path: Path) -> None:
    EventWriter(path).write("step", step=1)
    with path.open("ab") as file:
        file.write(b'{"event": "step", "st')
    EventWriter(path).write("step", step=2)
    EventWriter(path).write("step", step=3)
    reader = EventReader(path)
    assert [event["step"] for event in reader.poll()] == [1, 2, 3]
    assert reader.skipped == 1
    assert path.read_bytes().count(b"\n") == 4


def test_threads_write_whole_lines(path: Path) -> None:
    writer = EventWriter(path)

    def work(thread: int) -> None:
        for step in range(200):
            writer.write("step", thread=thread, step=step, pad="x" * step)

    threads = [threading.Thread(target=work, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    reader = EventReader(path)
    found = reader.poll()
    assert reader.skipped == 0
    for number in (0, 1):
        steps = [event["step"] for event in found if event["thread"] == number]
        assert steps == list(range(200))


def test_writing_again_inside_a_write_does_not_hang(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a signal handler that interrupts a writing thread."""
    writer = EventWriter(path)
    append = events._append

    def interrupted(target: Path, line: bytes) -> None:
        monkeypatch.setattr(events, "_append", append)
        writer.write("warning", message="SIGTERM")
        append(target, line)

    monkeypatch.setattr(events, "_append", interrupted)
    thread = threading.Thread(target=writer.write, args=("step",), daemon=True)
    thread.start()
    thread.join(timeout=5)
    assert not thread.is_alive()
    found = EventReader(path).poll()
    assert [event["event"] for event in found] == ["warning", "step"]


def test_a_full_disk_is_an_error_with_file_and_reason(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(RunError, match=r"events\.jsonl: No space left on device"):
        EventWriter(path).write("step")


def test_a_line_cut_by_a_full_disk_is_an_error_and_is_closed_later(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda file, data: write(file, data[:9]))
        with pytest.raises(RunError, match="No space left"):
            EventWriter(path).write("step", step=1)
    EventWriter(path).write("step", step=2)
    assert [event["step"] for event in EventReader(path).poll()] == [2]


def test_a_deleted_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="gone"):
        EventWriter(tmp_path / "gone" / "events.jsonl").write("step")


def line(step: int) -> bytes:
    return b'{"event": "step", "step": %d}\n' % step


def steps(found: list[dict[str, Any]]) -> list[int]:
    return [event["step"] for event in found]


def test_poll_returns_only_what_is_new_and_complete(path: Path) -> None:
    reader = EventReader(path)
    assert reader.poll() == []
    path.write_bytes(line(1) + line(2)[:10])
    assert steps(reader.poll()) == [1]
    assert reader.poll() == []
    with path.open("ab") as file:
        file.write(line(2)[10:-1])
    assert reader.poll() == []
    with path.open("ab") as file:
        file.write(b"\n" + line(3))
    assert steps(reader.poll()) == [2, 3]
    assert (reader.skipped, reader.restarts) == (0, 0)


def test_an_idle_poll_does_not_read(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_bytes(line(1))
    reader = EventReader(path)
    reader.poll()
    monkeypatch.setattr(events, "PIECE", "not a size")  # a read would raise
    assert reader.poll() == []


def test_a_long_file_is_read_in_pieces(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "PIECE", 7)
    text = json.dumps({"event": "warning", "step": 0, "message": "ä€𝄞"}).encode()
    text += b"\n" + '{"step": 1, "message": "ä€𝄞"}\n'.encode()
    path.write_bytes(text + line(2))
    found = EventReader(path).poll()
    assert steps(found) == [0, 1, 2]
    assert found[0]["message"] == found[1]["message"] == "ä€𝄞"


def test_a_file_that_shrank_is_read_again_from_its_start(path: Path) -> None:
    reader = EventReader(path)
    path.write_bytes(b"broken\n" + line(1) + line(2) + line(3)[:-5])
    assert steps(reader.poll()) == [1, 2]
    path.write_bytes(line(7))
    assert steps(reader.poll()) == [7]
    assert (reader.restarts, reader.skipped) == (1, 0)
    path.unlink()
    assert reader.poll() == []
    assert reader.restarts == 2
    path.write_bytes(line(8) + line(9))
    assert steps(reader.poll()) == [8, 9]


@pytest.mark.parametrize(
    "bad",
    [
        b"{",
        b"",
        b"[1, 2]",
        b"17",
        b"null",
        b'"text"',
        b'{"event": "\xff\xfe"}',
        "{}".encode("utf-16"),
        b"\x00" * 40,
        b"[" * 100_000,
        b'{"step": ' + b"9" * 5000 + b"}",
    ],
)
def test_a_line_that_is_no_event_is_skipped_and_counted(path: Path, bad: bytes) -> None:
    path.write_bytes(line(1) + bad + b"\n" + line(2))
    reader = EventReader(path)
    assert steps(reader.poll()) == [1, 2]
    assert reader.skipped >= 1


def test_read_all_starts_over_and_poll_goes_on(path: Path) -> None:
    path.write_bytes(line(1) + b"broken\n" + line(2))
    reader = EventReader(path)
    reader.poll()
    assert steps(reader.read_all()) == [1, 2]
    assert (reader.skipped, reader.restarts) == (1, 0)
    with path.open("ab") as file:
        file.write(line(3))
    assert steps(reader.poll()) == [3]


def test_a_reader_may_look_at_some_lines_only(path: Path) -> None:
    writer = EventWriter(path)
    for event in ("run_started", "step", "run_finished"):
        writer.write(event)
    found = EventReader(path, containing=b'"run_').poll()
    assert [event["event"] for event in found] == ["run_started", "run_finished"]


def test_a_pipe_is_refused_and_does_not_block(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    os.mkfifo(path)
    with pytest.raises(OSError, match="not a regular file"):
        EventReader(path).poll()


def test_an_endless_line_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"x" * (LONGEST_LINE + 1) + b'\n{"event": "epoch"}\n')
    reader = EventReader(path)
    assert reader.poll() == [{"event": "epoch"}]
    assert reader.skipped >= 1


def test_a_stream_leaves_out_steps_that_another_step_follows(path: Path) -> None:
    generator = random.Random(0)
    kinds = [generator.choice(["step"] * 8 + ["epoch", "warning"]) for _ in range(500)]
    writer, taken = EventWriter(path), list[tuple[str, int]]()
    stream = EventStream(
        path, lambda found: taken.extend((each["event"], each["n"]) for each in found)
    )
    for number, kind in enumerate(kinds):
        writer.write(kind, n=number)
    assert stream.poll() == []
    assert taken == [
        (kind, number)
        for number, (kind, after) in enumerate(
            zip(kinds, [*kinds[1:], ""], strict=True)
        )
        if (kind, after) != ("step", "step")
    ]
    assert stream.done == path.stat().st_size
    taken.clear()
    EventStream(path, stream.take, with_steps=False).poll()
    others = [pair for pair in enumerate(kinds) if pair[1] != "step"]
    newest = [(len(kinds) - 1, "step")] if kinds[-1] == "step" else []
    assert taken == [(kind, number) for number, kind in [*others, *newest]]


def test_a_stream_without_steps_passes_the_newest_one(path: Path) -> None:
    writer, taken = EventWriter(path), list[tuple[str, int]]()
    for number, kind in enumerate(["step", "epoch", "step", "step"]):
        writer.write(kind, n=number)
    EventStream(
        path,
        lambda found: taken.extend((each["event"], each["n"]) for each in found),
        with_steps=False,
    ).poll()
    assert taken == [("epoch", 1), ("step", 3)]


def test_a_stream_counts_lines_that_are_no_events(path: Path) -> None:
    path.write_bytes(b"\n\nx\n" + b'{"event": "step"\n' * 3 + b"[]\n{")
    stream = EventStream(path, lambda found: None)
    stream.poll()
    assert stream.skipped == 5
