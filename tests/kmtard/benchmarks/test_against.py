"""Both sides in turns, with real processes and with those that pretend to work."""

import pytest

from kmtard.benchmarks import against
from kmtard.benchmarks.against.table import table
from kmtard.benchmarks.turns import Refused, Times

pytestmark = pytest.mark.once("torch")


@pytest.fixture
def asked(monkeypatch):
    """The questions to the processes, which answer ever larger times."""
    questions = []

    class Worker:
        def __init__(self, module, settings, environment=None):
            self.module, self.environment = module, environment
            self.ready = {"backend": "torch", "device": "cpu"}

        def __enter__(self):
            return self

        def __exit__(self, *error):
            questions.append("end")

        def times(self, kind, count):
            if kind == "compiled" and refusing:
                raise Refused("no compiler for C++")
            questions.append((kind, count))
            return Times(len(questions), 2 * len(questions))

    refusing = []
    monkeypatch.setattr(against, "Worker", Worker)
    return questions, refusing


def test_sides_take_turns_in_changing_order(asked):
    questions, _ = asked
    rules = against.Rules(rounds=2, count=3)
    (row,) = against.rows(["digits"], ["step"], rules)
    kinds = ["ours", "eager", "compiled"]
    warm = [(kind, 1) for kind in kinds for _ in range(2)]
    measured = [(kind, 3) for kind in (*kinds, *reversed(kinds))]
    assert questions == [*warm, *measured, "end", "end"]
    # Rounds: ours 7, eager 8, compiled 9; then compiled 10, eager 11, ours 12.
    assert row["seconds"] == {"ours": 9.5, "eager": 9.5, "compiled": 9.5}
    low, high = 7 / 8, 12 / 11
    expected = {"median": (low + high) / 2, "low": low, "high": high}
    assert row["ratio"]["eager"] == pytest.approx(expected)
    assert row["cpu_seconds"]["ours"] == 19
    assert row["first_seconds"] == {"ours": 1, "eager": 3, "compiled": 5}


def test_only_our_side_gets_the_number_of_threads(asked, monkeypatch):
    given = []
    worker = against.Worker

    def recorded(module, settings, environment=None):
        given.append((module.rpartition(".")[2], environment or {}))
        return worker(module, settings, environment)

    monkeypatch.setattr(against, "Worker", recorded)
    rules = against.Rules("jax", rounds=1, count=1, threads=1)
    (row,) = against.rows(["digits"], ["step"], rules)
    (ours, environment), (rivals, other) = given
    assert (ours, rivals, other) == ("ours", "rivals", {})
    assert environment["NPROC"] == environment["OMP_NUM_THREADS"] == "1"
    assert row["threads"] == 1


def test_a_compiler_that_fails_is_left_out_and_named(asked):
    asked[1].append(True)
    found = list(against.rows(["digits"], ["step", "apgd"], against.Rules(rounds=1)))
    assert [row["compile_error"] for row in found] == ["no compiler for C++"] * 2
    assert all(set(row["ratio"]) == {"eager"} for row in found)
    shown = table(found)
    assert str(shown.caption).count("torch.compile failed: no compiler for C++") == 1
    assert list(shown.columns[5].cells) == ["-", "-"]


def test_measurements_last_about_half_a_second(asked, monkeypatch):
    monkeypatch.setattr(against, "LASTING", 100)
    rules = against.Rules(rounds=1, compiler=None)
    (row,) = against.rows(["digits"], ["step"], rules)
    # The sixth answer is the slowest of those that find out how long the work takes.
    assert row["count"] == round(100 / 6)


@pytest.mark.parametrize(
    "work",
    ["step", *(pytest.param(w, marks=pytest.mark.slow) for w in ("pgd-20", "apgd"))],
)
def test_real_processes(work):
    """The compiler does not exist, but the eager side is measured."""
    rules = against.Rules(
        "torch", rounds=1, batch_size=2, count=1, compiler="no_such_compiler"
    )
    (row,) = against.rows(["digits"], [work], rules)
    assert (row["net"], row["work"], row["backend"]) == ("digits", work, "torch")
    assert "no_such_compiler" in row["compile_error"]
    for times, ratio in (("seconds", "ratio"), ("cpu_seconds", "cpu_ratio")):
        assert set(row[times]) == {"ours", "eager"} and min(row[times].values()) > 0
        expected = row[times]["ours"] / row[times]["eager"]
        assert row[ratio]["eager"]["median"] == pytest.approx(expected)
