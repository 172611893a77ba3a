"""Parts that end, fail, die or take too long, with a script as the worker."""

import json
import sys
import time

import pytest

from kmtard.benchmarks.device_report.report import SCHEMA, STATES, Report, RunError, run
from kmtard.benchmarks.device_report.table import described, table
from kmtard.commands import benchmark as command

pytestmark = pytest.mark.once("torch")

WORKER = """
import json, os, subprocess, sys, time

def send(**message):
    print(json.dumps(message), flush=True)

send(miniature=True)
for part in sys.argv[1:]:
    send(part=part, row={"case": "began", "pid": os.getpid()})
    if part == "slow":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        send(part=part, row={"case": "child", "pid": child.pid})
        time.sleep(60)
    elif part == "dead":
        sys.stderr.write("out of memory")
        os._exit(9)
    elif part == "failed":
        send(part=part, state="failed", error="ValueError: no such card")
    else:
        send(part=part, state="done")
"""


def ran(path, parts, seconds=60.0):
    report = Report(path, "jax", list(parts))
    run(report, [sys.executable, "-c", WORKER], parts, seconds=seconds)
    document = json.loads(path.read_text())
    assert document == report.document
    assert document["finished"]
    return document


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_every_part_is_done_by_one_worker(tmp_path):
    document = ran(tmp_path / "new" / "report.json", {"one": 1.0, "two": 1.0})
    assert document["schema"] == SCHEMA
    assert document["miniature"] is True
    parts = document["parts"].values()
    assert [part["state"] for part in parts] == ["done", "done"]
    assert len({part["rows"][0]["pid"] for part in parts}) == 1
    assert all(0 <= part["seconds"] <= document["seconds"] for part in parts)


def test_a_failure_is_told_and_the_others_go_on(tmp_path):
    parts = ran(tmp_path / "r.json", {"failed": 1.0, "dead": 1.0, "one": 1.0})["parts"]
    assert parts["failed"]["error"] == "ValueError: no such card"
    assert parts["dead"]["state"] == "failed"
    assert "exit code 9" in parts["dead"]["error"]
    assert "out of memory" in parts["dead"]["error"]
    assert parts["one"]["state"] == "done"


def test_what_takes_too_long_is_cut_with_its_children(tmp_path):
    began = time.monotonic()
    document = ran(tmp_path / "r.json", {"slow": 1.0, "one": 9.0}, seconds=20.0)
    assert time.monotonic() - began < 15
    slow, one = document["parts"].values()
    assert slow["state"] == "cut"
    first, child = slow["rows"]
    assert not alive(first["pid"])
    assert not alive(child["pid"])
    assert one["state"] == "done", "what was cut must not take the others' time"


def test_the_file_tells_of_each_row_at_once(tmp_path):
    path = tmp_path / "r.json"
    report = Report(path, "jax", ["one"])
    assert json.loads(path.read_text())["parts"]["one"]["state"] == "waiting"
    report.add({"part": "one", "row": {"case": "matmul"}})
    document = json.loads(path.read_text())
    assert document["parts"]["one"]["rows"] == [{"case": "matmul"}]
    assert not document["finished"]
    assert {part["state"] for part in document["parts"].values()} <= {*STATES}


def test_a_row_replaces_the_running_row_of_its_case(tmp_path):
    report = Report(tmp_path / "r.json", "jax", ["one"])
    running = {"case": "pgd", "passed": 1, "failed": 0, "skipped": 0, "running": True}
    other = {**running, "case": "steps"}
    for row in (running, other, {**running, "passed": 2}):
        report.add({"part": "one", "row": row})
    assert "1 passed, 0 failed, 0 skipped, not finished" in described(running)
    rows = report.document["parts"]["one"]["rows"]
    assert rows == [other, {**running, "passed": 2}]
    done = {"case": "steps", "passed": 3, "failed": 0, "skipped": 0}
    report.add({"part": "one", "row": done})
    report.add({"part": "one", "row": done})
    assert report.document["parts"]["one"]["rows"][1:] == [done, done]


def test_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="Cannot create"):
        Report(tmp_path / "file" / "r.json", "jax", [])


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--parts=step,goldn"], "Received: 'goldn'. Did you mean golden?"),
        (["--parts=xyz"], "expected names from device, step, rival"),
        (["--minutes=0"], "--minutes must be > 0. Received: 0.0."),
    ],
)
def test_wrong_arguments_start_nothing(options, told, tmp_path, capsys):
    path = tmp_path / "r.json"
    assert command.main([f"--device-report={path}", *options]) == 2
    assert told in capsys.readouterr().err
    assert not path.exists()


def test_unknown_backend_of_the_environment(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jaxx")
    assert command.main([f"--device-report={tmp_path / 'r.json'}"]) == 2
    assert "Did you mean jax?" in capsys.readouterr().err


def test_a_report_that_cannot_be_written(tmp_path, capsys):
    assert command.main([f"--device-report={tmp_path}", "--parts=device"]) == 2
    assert f"Cannot write {tmp_path}" in capsys.readouterr().err


def test_table_tells_memory_as_a_bound_where_it_is_one():
    row = {
        "case": "step",
        "student": "resnet18",
        "teacher": "resnet18",
        "batch_size": 128,
        "precision": "tf32",
        "attack": "looped",
        "step_seconds": 0.0125,
        "images_per_second": 10240.0,
        "utilization": 0.4,
        "compile_seconds": 30.0,
        "peak_memory_mib": 2048.0,
        "peak_memory_exact": False,
    }
    case, figures = described(row)
    assert case == "step resnet18 resnet18 128 tf32"
    assert figures == (
        "looped: 12.50 ms, 10240 images/s, 40.0 % of the peak, at most 2048 MiB, "
        "compiled in 30.0 s"
    )
    assert "at most" not in described({**row, "peak_memory_exact": True})[1]
    assert "MiB" not in described({**row, "peak_memory_mib": None})[1]


def test_table_has_a_line_for_each_row_and_part(tmp_path):
    document = ran(tmp_path / "r.json", {"one": 1.0, "failed": 1.0})
    assert table(document).row_count == 4
