"""`kmtard harden`, as a user types it."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmtard.commands.harden import main
from kmtard.runs import list_runs
from tests.kmtard.hardening.conftest import make_model, write_images
from tests.kmtard.hardening.test_hardening import SMALL

pytestmark = pytest.mark.once("torch")

SETS = [word for each in SMALL for word in ("--set", each)]


@pytest.fixture
def given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    write_images(tmp_path / "photos")
    make_model().save(tmp_path / "model.keras")
    return ["model.keras", "--data", "photos", "--hours", "1/100", *SETS]


def test_a_dry_run_shows_the_recipe_and_trains_nothing(
    given: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main([*given, "--epsilon", "8/255", "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert "s per epoch" in printed and "B-MTARD from these weights" in printed
    assert 'network = "model.keras"' in printed and "epsilon = 0.0313" in printed
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--epsilon", "big"], "a fraction such as 4/255"),
        (["--input-range", "1,0"], "expected low,high"),
        (["--size", "8"], "expected height,width"),
        (["--threads", "0"], "expected at least 1"),
    ],
)
def test_a_wrong_command_line_starts_nothing(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["model.keras", "--data", "photos", *words])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_the_model_and_its_images_are_needed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        main(["model.keras"])
    assert "MODEL and --data IMAGES, or --resume RUN" in capsys.readouterr().err


def test_mistakes_have_their_exit_codes(
    given: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["other.keras", *given[1:]]) == 1
    assert "failed: Expected a .keras file" in capsys.readouterr().err
    assert main([*given, "--set", "student.freze=['a']", "--dry-run"]) == 2
    assert "did you mean freeze?" in capsys.readouterr().err
    for late in ("runtime.threads=2", "runtime={threads=2}"):
        assert main([*given, "--set", late, "--dry-run"]) == 2
        assert "threads = 2: must be known before" in capsys.readouterr().err
    assert not list_runs("runs")
