"""No content of a file or of the command line ends a command with a traceback.

Each case goes through `main` in this process: it may print and return, or leave by
argparse's `SystemExit`. The default run has a sample; the slow one has 10,000 cases.
"""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomlkit
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kmtard.commands import evaluate, fit, report
from kmtard.runs.files import RunError
from tests.run_folders import RECIPE, evaluated, make_run

__all__ = ["evaluated", "make_run"]

pytestmark = pytest.mark.once("torch")

LONGEST = 50_000
"""Characters that a command may say about a file, however large that is."""

DEEP: Any = 0
for _ in range(300):
    DEEP = [DEEP]
ODD = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, 10**18, 10**400, 0.5, -0.0, 1e308),
    *(float("nan"), float("inf"), float("-inf"), "", "0", "nan", "\0", "a\0b", "../.."),
    *("\ud800", "\x1b[31m", "[bold]", "x" * 100_000, "resnet18", "1/0", "8/255"),
    *([], {}, [[]], [None], [1, "a"], {"": {}}, {"a": {"a": {}}}, [1] * 1_000, DEEP),
    {f"key{index}": index for index in range(200)},
)
Mutation = Callable[[Any], Any]


def places(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of each value in a document."""
    yield path
    keys = document.keys() if isinstance(document, dict) else range(3)
    if isinstance(document, dict | list):
        for key in keys:
            if isinstance(document, dict) or key < len(document):
                yield from places(document[key], (*path, key))


def changed(document: Any, changes: list[tuple[tuple[Any, ...], str, Any]]) -> Any:
    """Return a document with values replaced, removed or added."""
    document = copy.deepcopy(document)
    for path, how, value in changes:
        if not path:
            continue
        parent = document
        for key in path[:-1]:
            try:
                parent = parent[key]
            except (KeyError, IndexError, TypeError):
                break
        try:
            if how == "replace":
                parent[path[-1]] = copy.deepcopy(value)
            elif how == "remove":
                del parent[path[-1]]
            else:
                parent[f"unknown {path[-1]}"] = copy.deepcopy(value)
        except (KeyError, IndexError, TypeError):
            continue
    return document


def changes_of(document: Any) -> st.SearchStrategy[Any]:
    """Return lists of changes to a document."""
    paths = st.sampled_from(list(places(document)))
    hows = st.sampled_from(["replace", "replace", "replace", "remove", "add"])
    one = st.tuples(paths, hows, st.sampled_from(ODD))
    return st.lists(one, min_size=1, max_size=3).map(lambda c: changed(document, c))


def written(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def damages(content: bytes) -> st.SearchStrategy[bytes]:
    """Return files that are no text, cut off, or huge."""
    cut = st.integers(0, len(content)).map(lambda end: content[:end])
    flip = st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255)).map(
        lambda at: content[: at[0]] + bytes([at[1]]) + content[at[0] + 1 :]
    )
    whole = st.sampled_from(
        [
            b"",
            b"\xff\xfe\x00",
            b"\x80\x81",
            b"[" * 100_000,
            b'{"a":' * 100_000,
            b"a = 1\n" * 20_000,
            b"x" * 10_000_000,
            content + b" " * 10_000_000,
            b"9" * 10_000,
        ]
    )
    return st.one_of(cut, flip, st.binary(max_size=200), whole)


def fuzzed(*strategies: st.SearchStrategy[Any], cases: int) -> Any:
    """Return a decorator that runs a function with the given number of cases."""

    def decorate(function: Callable[..., None]) -> Callable[[], None]:
        checks = list(HealthCheck)
        limits = settings(
            max_examples=cases,
            deadline=None,
            database=None,
            suppress_health_check=checks,
            derandomize=True,
        )
        return limits(given(*strategies)(function))

    return decorate


@pytest.fixture
def run_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., None]:
    """Return a function that runs a command up to where it would load a network."""

    def stop(*args: Any, **kwargs: Any) -> Any:
        raise RunError("far enough")

    monkeypatch.setattr(fit, "_run", stop)
    monkeypatch.setattr(fit, "_dry_run", stop)
    monkeypatch.setattr(fit, "choose_backend", lambda *args: None)
    monkeypatch.setattr(evaluate, "_evaluated", stop)

    def run(main: Callable[[list[str]], int], *arguments: str) -> None:
        try:
            assert main(list(arguments)) in (0, 1, 2)
        except SystemExit as error:
            assert error.code in (0, 1, 2)
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        assert len(said.err) < LONGEST

    return run


CASES = [
    pytest.param(25, id="sample"),
    pytest.param(1_800, id="all", marks=pytest.mark.slow),
]
KEYS = (
    *("data.batch_size", "data.pad", "data.limit", "data.held_out", "data.directory"),
    *("student.network", "student.options.width", "student.options.mean", "attack"),
    *("method.name", "method.temperature", "method.beta", "attack.steps", "a.b.c"),
    *("attack.epsilon", "optimizer.learning_rate", "schedule.epochs", "runtime.seed"),
    *("schedule.milestones", "evaluation.attacks", "evaluation.headline", "methods"),
    *("runtime.runs_dir", "nat_teacher.weights", "adv_teacher.method.name", "", "x y"),
)


@pytest.mark.parametrize("cases", CASES)
def test_recipes(cases: int, tmp_path: Path, run_command: Callable[..., None]) -> None:
    text = RECIPE.read_text()
    path = tmp_path / "recipe.toml"
    tables = changes_of(tomlkit.parse(text).unwrap())

    @fuzzed(tables, cases=cases)
    def of_values(document: Any) -> None:
        try:
            path.write_bytes(written(tomlkit.dumps(document)))
        except Exception:
            return  # TOML cannot hold it
        run_command(fit.main, str(path))

    @fuzzed(damages(text.encode()), cases=cases)
    def of_bytes(content: bytes) -> None:
        path.write_bytes(content)
        run_command(fit.main, str(path), "--dry-run")

    of_values()
    of_bytes()


@pytest.mark.parametrize("cases", CASES)
def test_overrides(cases: int, run_command: Callable[..., None]) -> None:
    odd = [str(value) for value in ODD]
    values = st.one_of(st.sampled_from(odd), st.text(max_size=20))
    one = st.tuples(st.sampled_from(KEYS), values).map(lambda pair: "=".join(pair))
    texts = st.lists(st.one_of(one, st.text(max_size=20)), min_size=1, max_size=3)

    @fuzzed(
        texts, st.sampled_from(["b_mtard", "ard", "", "\0", "x" * 9999]), cases=cases
    )
    def of_texts(overrides: list[str], method: str) -> None:
        words = [f"--set={override}" for override in overrides]
        run_command(fit.main, str(RECIPE), f"--method={method}", *words)

    of_texts()


@pytest.mark.parametrize("cases", CASES)
@pytest.mark.parametrize("name", ["run.json", "evaluation.json", "events.jsonl"])
def test_files_of_a_run(
    name: str,
    cases: int,
    evaluated: Callable[..., Path],
    run_command: Callable[..., None],
) -> None:
    run, other = evaluated(0), evaluated(1)
    path = run / name
    content = path.read_bytes()
    events = name == "events.jsonl"
    parsed = [json.loads(line) for line in content.splitlines()] if events else None
    document = {"": parsed} if events else json.loads(content)

    def read(content: bytes) -> None:
        path.write_bytes(content)
        run_command(report.main, str(run), str(other), "--format=markdown")
        run_command(report.main, str(run))
        run_command(evaluate.main, str(run))
        run_command(evaluate.main, "--compare", str(run), str(other))
        run_command(fit.main, "--resume", str(run))

    @fuzzed(changes_of(document), cases=cases // 3)
    def of_values(document: Any) -> None:
        if events:
            lines = document.get("", [])
            lines = lines if isinstance(lines, list) else [lines]
            read(written("".join(f"{json.dumps(each)}\n" for each in lines)))
        else:
            read(written(json.dumps(document)))

    @fuzzed(damages(content), cases=cases // 3)
    def of_bytes(content: bytes) -> None:
        read(content)

    of_values()
    of_bytes()


def arrays() -> st.SearchStrategy[dict[str, Any]]:
    """Return images and labels of any type and shape, some of them right."""
    types = st.sampled_from(
        ["u1", "i4", "i8", "u8", "f4", "f8", "?", "c8", "U3", "M8[s]"]
    )
    sizes = st.sampled_from([0, 1, 2, 8])
    shapes = st.one_of(
        st.just((8, 8, 8, 1)), st.lists(sizes, max_size=5).map(tuple), st.just((8,))
    )
    fills = st.sampled_from([0, 1, 7, 255, -1, 2**62])

    def array(parts: tuple[str, tuple[int, ...], int]) -> Any:
        kind, shape, fill = parts
        with np.errstate(all="ignore"):
            return np.full(shape, fill, "i8").astype(kind)

    one = st.tuples(types, shapes, fills).map(array)
    right = {
        "x_train": np.zeros((8, 8, 8, 1), "u1"),
        "y_train": np.arange(8) % 2,
        "x_test": np.zeros((8, 8, 8, 1), "u1"),
        "y_test": np.arange(8) % 2,
    }
    names = st.sampled_from([*right, "other"])
    return st.dictionaries(names, one, max_size=3).map(lambda odd: {**right, **odd})


@pytest.mark.parametrize("cases", CASES)
def test_data_sets(cases: int, tmp_path: Path, recipe_path: Path) -> None:
    from kmtard.recipe import load
    from kmtard.training.build import load_data

    path = tmp_path / "data.npz"
    recipe = load(recipe_path, overrides=["data.name=npz", f"data.directory={path}"])

    @fuzzed(arrays(), cases=cases)
    def of_arrays(found: dict[str, Any]) -> None:
        np.savez(path, **found)
        try:
            data = load_data(recipe)
        except RunError as error:
            assert str(path) in str(error) and len(str(error)) < LONGEST
        else:
            assert data.train.images.dtype == np.uint8 and data.num_classes >= 2

    of_arrays()


@pytest.fixture
def recipe_path() -> Path:
    return RECIPE


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ("fit", "none.toml"),
        ("fit", "bad.toml"),
        ("fit", str(RECIPE), "--set", "method.temperature=0", "--method", "ard"),
        ("fit", str(RECIPE), "--set", "attack.steps=1000000000000000000"),
        ("fit", str(RECIPE), "--set", 'runtime.runs_dir="a\\u0000b"'),
        ("fit", str(RECIPE), "--dry-run", "--set", "data.directory=none"),
        ("report", "none"),
        ("report", "bad.toml"),
        ("evaluate", "none"),
        ("evaluate", "bad.keras", "--data", "digits"),
    ],
)
def test_real_commands(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    (tmp_path / "bad.toml").write_bytes(b"\xff\x00" * 100)
    (tmp_path / "bad.keras").write_bytes(b"PK\x03\x04 no model")
    command = [sys.executable, "-m", f"kmtard.{arguments[0]}", *arguments[1:]]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode in (1, 2), done
    assert done.stderr and "Traceback" not in done.stderr
    assert len(done.stderr) < LONGEST
