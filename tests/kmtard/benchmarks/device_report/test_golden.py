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


def test_counts_of_each_file_and_what_failed():
    steps, pgd, failed = golden.read(OUTPUT.splitlines(keepends=True))
    assert steps == dict(case="test_golden_steps", passed=1, failed=1, skipped=0)
    assert pgd == dict(case="test_golden_pgd", passed=1, failed=1, skipped=1)
    assert failed["tolerance"] == 1e-5
    assert [name.rpartition(" - ")[2] for name in failed["tests"]] == [
        "Assert",
        "RuntimeError: no memory",
    ]


def test_a_finished_file_is_told_before_the_end():
    lines = iter(OUTPUT.splitlines()[:6])
    assert next(golden.read(lines))["case"] == "test_golden_steps"


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
