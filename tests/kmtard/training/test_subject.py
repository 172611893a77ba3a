"""What a command line may name as a model."""

from __future__ import annotations

from pathlib import Path

import pytest

from kmtard.runs import RunError
from kmtard.training.subject import Subject

pytestmark = pytest.mark.once("torch")


@pytest.mark.parametrize("suffix", [".h5", ".hdf5"])
def test_a_whole_h5_model_is_refused_with_what_to_do(
    suffix: str, tmp_path: Path
) -> None:
    path = tmp_path / f"model{suffix}"
    path.touch()
    with pytest.raises(RunError) as error:
        Subject.find(str(path))
    assert f"keras.models.load_model('{path}'" in str(error.value)
    assert f".save('{path.with_suffix('.keras')}')" in str(error.value)
