"""What a Keras classifier takes and returns, as far as its layers show it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from kmtard.networks.logits import without_last_activation

Range = tuple[float, float]

UNIT: Range = (0.0, 1.0)
BYTES: Range = (0.0, 255.0)
SIGNED: Range = (-1.0, 1.0)
RANGES = (UNIT, BYTES, SIGNED)
"""Ranges of images that are distinguished, the default first."""

# Layers that divide by 255 have scales below 0.02, those for [0, 1] have 0.5 or more.
SMALLEST_SCALE = 0.1
LARGEST_STD = 2.0
BELOW_ZERO = -0.02
# With this many images, the accuracies of two ranges differ clearly if they differ.
TRIED_IMAGES = 256
CLEARLY_BETTER = 0.1

AUGMENTATIONS = ("Random", "AutoContrast", "AugMix", "CutMix", "MixUp", "RandAugment")
DROPOUTS = ("Dropout", "AlphaDropout", "GaussianDropout", "GaussianNoise")


@dataclass(frozen=True)
class Interface:
    """What a classifier takes and returns.

    Attributes:
        shape: `(height, width, channels)` of an image; None for a size that is free,
            and for all of them if the model does not say.
        channels_first: whether its images are (channels, height, width).
        input_range: (low, high) of its images; None if the layers do not show it.
        evidence: which layer shows the range; empty if none does.
        units: number of outputs; None if it is unknown.
        ending: "softmax", "sigmoid", "logits", or "unknown" if the layers do not show
            whether the model returns probabilities.
        dropout: number of layers with dropout or noise.
        augmentation: classes of layers that change images in training.
        mirrors: whether one of them turns images left to right.
        normalization: classes of layers that normalize features, such as
            BatchNormalization.
        precision: dtype of the weights, such as float32.
        weights: number of values in all weights.
    """

    shape: tuple[int | None, int | None, int | None]
    channels_first: bool
    input_range: Range | None
    evidence: str
    units: int | None
    ending: str
    dropout: int
    augmentation: tuple[str, ...]
    mirrors: bool
    normalization: tuple[str, ...]
    precision: str
    weights: int


def interface_of(model: keras.Model) -> Interface:
    """Return what a classifier takes and returns; it is neither changed nor called.

    Args:
        model: any Keras model of one image, such as a functional or subclassed one.

    Example:
        >>> import keras
        >>> model = keras.Sequential(
        ...     [
        ...         keras.Input((8, 8, 1)),
        ...         keras.layers.Rescaling(1 / 255),
        ...         keras.layers.Flatten(),
        ...         keras.layers.Dense(3, activation="softmax"),
        ...     ]
        ... )
        >>> found = kmtard.networks.interface_of(model)
        >>> found.input_range, found.ending
        ((0.0, 255.0), 'softmax')
    """
    layers = list(_inner_layers(model))
    names = [type(layer).__name__ for layer in layers]
    found, evidence = _range_of(layers)
    shape, channels_first = _shape_of(model, layers)
    units = units_of(model)
    dtypes = {str(weight.dtype) for weight in model.trainable_weights}
    return Interface(
        shape=shape,
        channels_first=channels_first,
        input_range=found,
        evidence=evidence,
        units=units,
        ending=_ending(model, units),
        dropout=sum(name.endswith(DROPOUTS) for name in names),
        augmentation=_unique(
            type(layer).__name__ for layer in layers if augments(layer)
        ),
        mirrors=any(
            augments(layer) and "horizontal" in str(getattr(layer, "mode", ""))
            for layer in layers
        ),
        normalization=_unique(
            name for name in names if name.endswith("Normalization") and len(name) > 13
        ),
        precision=" and ".join(sorted(dtypes)) or "none",
        weights=int(model.count_params()) if model.built else 0,
    )


def augments(layer: keras.layers.Layer) -> bool:
    """Return whether a layer changes images in training."""
    return type(layer).__name__.startswith(AUGMENTATIONS)


def units_of(model: keras.Model) -> int | None:
    """Return the number of a model's outputs; None if the model does not know it."""
    try:
        shape = model.output_shape
    except (AttributeError, ValueError, NotImplementedError):
        return None
    known = isinstance(shape, tuple) and len(shape) == 2 and isinstance(shape[1], int)
    return int(shape[1]) if known else None


def measured_range(
    model: keras.Model, images: np.ndarray, labels: np.ndarray
) -> Range | None:
    """Return the range of images in which a trained model is most often right.

    Args:
        model: any classifier.
        images: uint8 (n, ...), in the form that the model takes.
        labels: int (n,), the classes.

    Returns:
        One of `RANGES`; None if no range is clearly better than all others.
    """
    scores = []
    for low, high in RANGES:
        scaled = images.astype("float32") * ((high - low) / 255) + low
        outputs = np.asarray(model.predict(scaled, verbose=0), "float32")
        if outputs.shape[-1] == 1:
            outputs = np.concatenate([1 - outputs, outputs], axis=-1)
        scores.append(float(np.mean(outputs.argmax(-1) == labels)))
    best, second = sorted(scores, reverse=True)[:2]
    clear = best - second >= CLEARLY_BETTER
    return RANGES[scores.index(best)] if clear else None


def _inner_layers(model: Any) -> Any:
    """Yield the layers of a model and of nested models, without the models."""
    for layer in model._flatten_layers(include_self=False):
        if isinstance(layer, (keras.Model, keras.layers.InputLayer)):
            continue
        yield layer


def _range_of(layers: list[Any]) -> tuple[Range | None, str]:
    """Return the range that the first scaling layer shows, and its description."""
    for layer in layers:
        if isinstance(layer, keras.layers.Rescaling):
            scale, offset = np.array(layer.scale, float), np.array(layer.offset, float)
            about = f"Rescaling {layer.name!r}"
            if np.abs(scale).max() < SMALLEST_SCALE:
                return BYTES, about
            half = np.abs(scale).max() <= 0.5 and (offset - scale >= BELOW_ZERO).all()
            return (SIGNED if half else UNIT), about
        if isinstance(layer, keras.layers.Normalization) and layer.built:
            mean = np.array(keras.ops.convert_to_numpy(layer.mean), float)
            variance = np.array(keras.ops.convert_to_numpy(layer.variance), float)
            about = f"Normalization {layer.name!r}"
            if np.sqrt(variance).max() > LARGEST_STD:
                return BYTES, about
            return (SIGNED if mean.min() < BELOW_ZERO else UNIT), about
        if layer.weights and not _only_seeds(layer):
            break
    return None, ""


def _only_seeds(layer: Any) -> bool:
    """Return whether a layer has no weights but the state of its random numbers."""
    return all("seed" in weight.path for weight in layer.weights)


def _shape_of(
    model: Any, layers: list[Any]
) -> tuple[tuple[int | None, int | None, int | None], bool]:
    shape = getattr(model, "input_shape", None)
    if shape is None and model.built:
        # The shape in the first call of a subclassed model.
        shape = (model.get_build_config() or {}).get("input_shape")
    formats = (getattr(layer, "data_format", None) for layer in layers)
    form = next(filter(None, formats), None) or keras.config.image_data_format()
    first = form == "channels_first"
    if not isinstance(shape, (tuple, list)) or len(shape) != 4:
        return (None, None, None), first
    sizes = [each if isinstance(each, int) else None for each in shape[1:]]
    channels, height, width = sizes if first else (sizes[2], sizes[0], sizes[1])
    return (height, width, channels), first


def _ending(model: Any, units: int | None) -> str:
    network = without_last_activation(model)
    if network is None:
        return "unknown"
    if network is model:
        return "logits"
    return "sigmoid" if units == 1 else "softmax"


def _unique(names: Any) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))
