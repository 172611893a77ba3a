"""The page about weights: its example runs, and what it lists is what there is."""

import re
from pathlib import Path

import keras
import pytest

from kmtard.networks import standardization, weight_files

PAGE = (Path(__file__).parents[1] / "docs" / "weights.md").read_text()

pytestmark = pytest.mark.once("torch")


def test_a_pytorch_module_is_evaluated_as_it_is(capsys):
    pytest.importorskip("torch")
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names = {"__name__": "page"}
    exec(compile(code, "weights.md", "exec"), names)  # noqa: S102
    assert keras.backend.backend() == "torch"
    model, result = names["model"], names["result"]
    assert not names["module"].training
    images = names["torch"].from_numpy(names["x"].transpose(0, 3, 1, 2))
    logits = names["module"](images).detach().numpy()
    assert (logits.argmax(-1) == names["y"]).all()
    assert model.output_shape == (None, 10)
    assert "| clean | 100.00 |" in capsys.readouterr().out
    assert result is not None


def test_the_page_lists_all_names():
    listed = (*weight_files.READ_SUFFIXES, *weight_files.NESTS, *standardization.NAMES)
    assert [name for name in listed if f"`{name}`" not in PAGE and name != ".tar"] == []
