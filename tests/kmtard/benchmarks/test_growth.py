"""How the time grows with the work."""

import argparse
import json

import pytest

from kmtard.benchmarks import growth
from kmtard.commands import benchmark

pytestmark = pytest.mark.once("torch")


@pytest.fixture
def pretended(monkeypatch):
    """Work that takes the square of its amount, on a clock of its own."""
    now = [0.0]

    def work_of(size):
        def run(count):
            now[0] += count * size**2

        return growth.Work(run, size)

    monkeypatch.setattr(growth, "GROUPS", {"squares": (work_of, (1, 2, 6))})
    monkeypatch.setattr("kmtard.benchmarks.timing.time.perf_counter", lambda: now[0])


def test_growth_is_that_of_the_time_over_that_of_the_work(pretended):
    given = argparse.Namespace(backend=None, steps=2, repeats=3)
    found = list(growth.rows(given))
    assert [row["seconds"] for row in found] == [1, 4, 36]
    assert [row["growth"] for row in found] == [None, 2, 3]
    shown = growth.table(found)
    assert list(shown.columns[0].cells) == ["squares", "", ""]
    assert list(shown.columns[4].cells) == ["", "2.00", "3.00"]


def test_command(pretended, tmp_path, capsys):
    path = tmp_path / "growth.json"
    assert benchmark.main(["--growth", "--repeats=1", f"--json={path}"]) == 0
    rows = json.loads(path.read_text())
    assert [row["size"] for row in rows] == [1, 2, 6]
    out, err = capsys.readouterr()
    assert "squares" in out and "squares: 6 done" in err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--batch-size=8"], "Leave --batch-size out"),
        (["--net=cifar"], "Received: --net cifar"),
        (["--jit=no"], "--jit no"),
        (["--against=torch"], "--against and --growth. Give one"),
        (["--launcher"], "--launcher and --growth. Give one"),
    ],
)
def test_options_that_would_do_nothing_are_refused(options, said, pretended, capsys):
    with pytest.raises(SystemExit):
        benchmark.main(["--growth", *options])
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("group", sorted(growth.GROUPS))
def test_work_of_each_group(group):
    """The smallest work runs, and the amounts are those of its definition."""
    work_of, sizes = growth.GROUPS[group]
    first, second = work_of(sizes[0]), work_of(sizes[1])
    assert first.amount < second.amount
    if group in (
        "images in a batch",
        "images in an evaluation",
        "planned cells of a study",
    ):
        assert second.amount / first.amount == sizes[1] / sizes[0]
    first.run(1)
