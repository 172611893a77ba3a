"""Counts of outcomes are read from the output of pytest."""

import dataclasses

import pytest

from kmtard.benchmarks.device_report import golden
from kmtard.benchmarks.device_report.scale import FULL, MINIATURE

pytestmark = pytest.mark.once("torch")

OUTPUT = """\
============================= test session starts ==============================
collected 5 items

tests/kmtard/methods/test_golden_steps.py::test_steps[steps_bn_c10-mtard] PASSED [ 20%]
tests/kmtard/methods/test_golden_steps.py::test_steps[steps_bn_c10-iad1] FAILED  [ 40%]
tests/kmtard/attacks/test_golden_pgd.py::test_pgd[a b] SKIPPED (no file)         [ 60%]
tests/kmtard/attacks/test_golden_pgd.py::test_pgd[c] ERROR                       [ 80%]
tests/kmtard/attacks/test_golden_pgd.py::test_pgd[d] PASSED                      [100%]

=========================== short test summary info ============================
SKIPPED [1] tests/kmtard/attacks/test_golden_pgd.py:12: no file
FAILED tests/kmtard/methods/test_golden_steps.py::test_steps[steps_bn_c10-iad1] - Assert
ERROR tests/kmtard/attacks/test_golden_pgd.py::test_pgd[c] - RuntimeError: no memory
"""


WORKERS = """\
[gw1] [ 20%] PASSED tests/kmtard/attacks/test_golden_pgd.py::test_pgd[a b]
[gw0] [ 40%] PASSED tests/kmtard/methods/test_golden_steps.py::test_steps[one]
[gw1] [ 60%] FAILED tests/kmtard/attacks/test_golden_pgd.py::test_pgd[c]
[gw0] [100%] SKIPPED tests/kmtard/methods/test_golden_steps.py::test_steps[two]
FAILED tests/kmtard/attacks/test_golden_pgd.py::test_pgd[c] - Assert
"""


def finished(output):
    return [row for row in golden.read(output.splitlines()) if "running" not in row]


def test_counts_of_each_file_and_what_failed():
    steps, pgd, failed = finished(OUTPUT)
    assert steps == dict(case="test_golden_steps", passed=1, failed=1, skipped=0)
    assert pgd == dict(case="test_golden_pgd", passed=1, failed=1, skipped=1)
    assert failed["tolerance"] == 1e-5
    assert [name.rpartition(" - ")[2] for name in failed["tests"]] == [
        "Assert",
        "RuntimeError: no memory",
    ]


def test_counts_of_tests_in_several_processes():
    pgd, steps, failed = finished(WORKERS)
    assert pgd == dict(case="test_golden_pgd", passed=1, failed=1, skipped=0)
    assert steps == dict(case="test_golden_steps", passed=1, failed=0, skipped=1)
    assert len(failed["tests"]) == 1


def test_each_test_counts_at_once():
    lines = iter(OUTPUT.splitlines()[:4])
    row = dict(case="test_golden_steps", passed=1, failed=0, skipped=0, running=True)
    assert next(golden.read(lines)) == row


def test_without_a_checkout_it_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(golden, "ROOT", tmp_path)
    (row,) = golden.rows(MINIATURE)
    assert row["case"] == "left out"
    assert str(tmp_path) in row["reason"]


@pytest.mark.parametrize("name", FULL.golden + MINIATURE.golden)
def test_files_exist_and_need_no_tensorflow(name):
    source = (golden.ROOT / golden.TESTS / name).read_text()
    assert "golden" in source
    assert "tensorflow" not in source


def test_pytest_that_cannot_run_is_an_error(monkeypatch):
    scale = dataclasses.replace(MINIATURE, golden=("no_such_test.py",))
    with pytest.raises(RuntimeError, match="pytest ended with exit code 4"):
        list(golden.rows(scale))
