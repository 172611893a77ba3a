"""The README's Python runs as written."""

import re
from pathlib import Path

import keras
import pytest

from kmtard import backend

README = Path(__file__).parents[1] / "README.md"


def test_example(tmp_path, monkeypatch):
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
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


@pytest.mark.parametrize("target", ["demo", "check"])
def test_commands_exist(target):
    makefile = (README.parent / "Makefile").read_text()
    assert f"make {target}" in README.read_text()
    assert re.search(rf"^{target}:", makefile, re.MULTILINE)
