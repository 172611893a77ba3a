"""The README's Python runs as written."""

import re
from pathlib import Path

import keras
import pytest

from kmtard import backend, fit
from kmtard.runs import list_runs

README = Path(__file__).parents[1] / "README.md"


def python_blocks():
    return re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)


@pytest.mark.once("torch")
def test_example(tmp_path, monkeypatch):
    code, _ = python_blocks()
    monkeypatch.chdir(tmp_path)
    # Without XLA, TensorFlow is ready a minute earlier; other tests compile with it.
    if keras.backend.backend() == "tensorflow":
        monkeypatch.setattr(backend, "JIT_COMPILE", False)
    names = {"__name__": "readme"}
    exec(compile(code, str(README), "exec"), names)  # noqa: S102
    assert Path("student.keras").exists()
    scores = names["model"].evaluate(*names["test"], verbose=0, return_dict=True)
    natural = names["nat_teacher"].predict(names["x_adv"], verbose=0).argmax(-1)
    assert scores["clean_accuracy"] > 0.6
    assert natural.shape == names["data"].test.labels.shape


def test_method_of_your_own(tmp_path, monkeypatch):
    _, code = python_blocks()
    package = tmp_path / "mypackage"
    package.mkdir()
    (package / "pairing.py").write_text(code)
    assert len(code[code.index("class ") :].splitlines()) < 30
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    name = "mypackage.pairing:LogitPairing"
    settings = {
        "runtime.backend": keras.backend.backend(),
        "runtime.jit": '"auto"' if keras.backend.backend() == "jax" else "false",
        "method.weight": "0.25",
    }
    overrides = [f"--set={key}={value}" for key, value in settings.items()]
    recipe = README.parent / "recipes" / "digits.toml"
    assert fit.main([str(recipe), "--smoke", "--method", name, *overrides]) == 0
    [run] = list_runs("runs")
    assert "weight = 0.25" in run.recipe_path.read_text()
    [*_, last] = [event for event in run.events().poll() if event["event"] == "epoch"]
    assert last["metrics"]["pairing"] > 0
    assert (run.best / "student.keras").exists()


@pytest.mark.parametrize("target", ["demo", "check", "gpu-check"])
def test_commands_exist(target):
    makefile = (README.parent / "Makefile").read_text()
    assert f"make {target}" in README.read_text()
    assert re.search(rf"^{target}:", makefile, re.MULTILINE)
