"""A user's own data set, in a NumPy archive."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from kmtard.data.arrays import open_arrays
from kmtard.data.errors import DataError
from kmtard.data.pipeline import DataSet, Split

_ARRAYS = ("x_train", "y_train", "x_test", "y_test")
_NAMES = "class_names"


def npz(directory: str | None = None) -> DataSet:
    """Return the data set in an `.npz` file.

    The arrays have the same names as in Keras's `mnist.npz`. `x_train` and `x_test`
    hold uint8 images `(count, height, width, channels)`, or `(count, height, width)` if
    they are gray. `y_train` and `y_test` hold their classes, integers from 0, of shape
    `(count,)` or `(count, 1)`. The number of classes is the largest label plus 1.
    `class_names`, strings `(classes,)`, is optional.

    Args:
        directory: The file, or a folder that holds exactly one `.npz` file.

    Raises:
        DataError: There is no such file, it is damaged, an array is missing, or an
            array has the wrong dtype or shape.

    Example:
        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> x, y = np.zeros((6, 8, 8), "uint8"), np.arange(6) % 3
        >>> np.savez(f"{folder}/own.npz", x_train=x, y_train=y, x_test=x, y_test=y)
        >>> npz(folder).num_classes
        3
    """
    path = _file(directory)
    try:
        with open_arrays(path) as archive:
            missing = [name for name in _ARRAYS if name not in archive]
            if missing:
                raise ValueError(
                    f"expected the arrays {', '.join(_ARRAYS)}; missing: "
                    f"{', '.join(missing)}; found: {', '.join(archive) or 'none'}"
                )
            x_train, y_train, x_test, y_test = (
                np.asarray(archive[name]) for name in _ARRAYS
            )
            names = tuple(map(str, archive[_NAMES])) if _NAMES in archive else ()
        train, test = _split(x_train, y_train, names), _split(x_test, y_test, names)
        classes = 1 + max(int(split.labels.max()) for split in (train, test))
        classes = max(classes, len(names))
        return DataSet(path.stem, train, test, classes)
    except (OSError, ValueError) as error:
        raise DataError(f"Cannot use {path}: {error}") from error


def _file(directory: str | None) -> Path:
    path = Path(directory or "")
    # The user did not write hidden files: macOS writes ._NAME.npz next to NAME.npz.
    files = sorted(path.glob("[!.]*.npz")) if directory and path.is_dir() else [path]
    if directory is None or len(files) != 1 or not files[0].is_file():
        found = f" It holds {len(files)} of them." if path.is_dir() else ""
        raise DataError(
            "The data set 'npz' expects data.directory to be an .npz file, or a folder "
            "with exactly one .npz file. Received: "
            f"{directory!r}.{found if directory else ''}"
        )
    return files[0]


def _split(
    images: np.ndarray, labels: np.ndarray, class_names: tuple[str, ...]
) -> Split:
    if images.ndim == 3:
        images = images[..., np.newaxis]
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    # Split refuses any other dtype.
    if np.issubdtype(labels.dtype, np.integer):
        labels = labels.astype(np.int64)
    return Split(images, labels, class_names)
