"""Diagnostics of a model before it is attacked."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from kmtard import backend, losses
from kmtard.attacks.classifier import Classifier
from kmtard.backend.types import Array, Labels
from kmtard.evaluation.diagnostics.finding import Findings, when
from kmtard.evaluation.diagnostics.results import RANGE_FIX
from kmtard.networks.logits import are_probabilities

RUNS = 5
"""Number of forward passes that must agree."""

SCORE_TOLERANCE = 1e-4
"""Largest L2 distance between normalized logits of the same images."""

SMALL_RANGE = 0.1
"""If a layer scales [0, 1] to a smaller range than this, it expects 0 to 255."""

GRADIENT_CALLS = frozenset(
    {"_make_grads", "backward", "grad", "grad_f", "gradient", "value_and_grad_f", "vjp"}
)
"""Names of the functions that compute gradients in PyTorch, TensorFlow and JAX."""

LOOP_CALLS = frozenset({"fori_loop", "scan", "while_loop", "while_loop_v2"})
"""Names of the functions that run loops in Keras, JAX, TensorFlow and PyTorch."""

LIBRARIES = frozenset({"jax", "keras", "tensorflow", "torch"})

WRAPPERS = frozenset(
    {
        *("error_handler", "new_func", "op_dispatch_handler", "wrapper"),
        *("reraise_with_filtered_traceback", "inner"),
    }
)
"""Names of the functions of libraries that only pass a call on."""


def check_model(
    model: keras.Model | Classifier, x: Array, y: Labels, *, expect_random: bool = False
) -> Findings:
    """Run all diagnostics of a model on one batch of images.

    Args:
        model: a Keras model or its `Classifier`.
        x: (batch, ...) float32 in [0, 1].
        y: (batch,) integer labels.
        expect_random: whether an attack for randomized models will run.

    Example:
        >>> from kmtard.evaluation.diagnostics.model import check_model
        >>> findings = check_model(model, x, y)
    """
    images, labels = backend.to_numpy(x), backend.to_numpy(y)
    classifier = Classifier.of(model, images[:1])
    with restored(classifier.model):
        logits = eager_logits(classifier, images)
        found = [
            *input_range(images),
            *softmax_output(raw_outputs(classifier, images)),
            *non_finite(classifier, images, labels),
            *zero_gradients(classifier, images, labels),
            *state_changes(classifier, images),
            *dynamic_defence(classifier, images),
            *loop_in_prediction(classifier, images),
            *identical_logits(images, logits),
            *input_scale(classifier),
        ]
        runs = [eager_logits(classifier, images) for _ in range(RUNS)]
        random = randomised_defence(runs, labels, expected=expect_random)
        found += random
        if not random:
            found += batch_dependence(classifier, images)
    return found


def input_range(x: np.ndarray) -> Findings:
    """Find images outside [0, 1], or in a small part of it."""
    low, high = x.min(), x.max()
    return when(
        low < 0 or high > 1 or high - low < 0.1,
        "input-range",
        f"The images are in [{low:g}, {high:g}]: check that they were scaled to [0, 1] "
        "exactly once.",
    )


def input_scale(classifier: Classifier) -> Findings:
    """Find layers that expect images of another range than the model receives."""
    low, high = classifier.input_range
    found = []
    for layer in classifier.model._flatten_layers():
        if type(layer) is keras.layers.Rescaling:
            scale = np.abs(np.asarray(layer.scale, "float64"))
            made_for_more = bool(np.any(scale * (high - low) < SMALL_RANGE))
            name = f"Rescaling(scale={float(scale.min()):.3g})"
            if scale.ndim == 0 and not made_for_more:
                # A later layer gets the rescaled images, as in an adapted model.
                factor, offset = float(layer.scale), float(np.max(layer.offset))
                low, high = low * factor + offset, high * factor + offset
        elif type(layer) is keras.layers.Normalization and layer.built:
            mean, deviation = (
                np.abs(ops.convert_to_numpy(each))
                for each in (layer.mean, ops.sqrt(layer.variance))
            )
            limit = 2 * max(abs(low), abs(high))
            made_for_more = bool(mean.max() > limit or deviation.max() > limit)
            name = f"Normalization(mean up to {float(mean.max()):.3g})"
        else:
            continue
        found += when(
            made_for_more,
            "input-scale",
            f"The model contains {name}, which expects images of another range than "
            f"[{low:g}, {high:g}]. {RANGE_FIX}",
        )
    return found


def softmax_output(outputs: np.ndarray) -> Findings:
    """Find outputs (batch, classes) that are probabilities."""
    return when(
        are_probabilities(outputs),
        "softmax-output",
        "The model returns softmax probabilities, but attacks need logits: gradients "
        "vanish if a probability is close to 0 or 1. The attacks used the model's "
        "logits, or the logarithm of its probabilities if the softmax is hidden. "
        "kmtard.networks.logits_of(model) returns a model of the logits with the same "
        "layers and weights: use it instead.",
    )


def non_finite(classifier: Classifier, x: np.ndarray, y: np.ndarray) -> Findings:
    """Find NaN or infinity in the logits or in the gradient of the cross-entropy."""
    found = []
    for name, values in (
        ("logits", eager_logits(classifier, x)),
        ("gradients", _gradient(classifier, x, y, "ce")),
    ):
        bad = np.sum(~np.isfinite(values).all(axis=1))
        found += when(
            bad,
            "non-finite",
            f"The {name} of {bad} of {len(x)} images are NaN or infinite: no attack "
            "can work there, and robust accuracy is undefined.",
        )
    return found


def zero_gradients(classifier: Classifier, x: np.ndarray, y: np.ndarray) -> Findings:
    """Find images at which the gradient of a loss is exactly zero.

    AutoAttack checks only DLR, but it is the cross-entropy that underflows. DLR
    is constant where the label has the third largest logit, so only images that are
    classified correctly count for it.
    """
    found = []
    right = eager_logits(classifier, x).argmax(axis=1) == y
    for name in ("ce", "dlr") if classifier.num_classes > 2 else ("ce",):
        zeros = (_gradient(classifier, x, y, name) == 0).all(axis=1)
        zero = np.sum(zeros & right if name == "dlr" else zeros)
        found += when(
            zero,
            "zero-gradients",
            f"The gradient of the loss {name!r} is zero at {zero} of {len(x)} images: "
            "attacks that follow it do not move. Run square, which needs no gradient, "
            "and apgd_t, which follows another loss.",
        )
    return found


@contextlib.contextmanager
def restored(model: keras.Model) -> Iterator[list[np.ndarray]]:
    """Yield a copy of the model's weights, and restore them at the end."""
    before = [np.array(ops.convert_to_numpy(weight)) for weight in model.weights]
    try:
        yield before
    finally:
        for weight, value in zip(model.weights, before, strict=True):
            weight.assign(value)


def state_changes(classifier: Classifier, x: np.ndarray) -> Findings:
    """Find a model whose weights change during a prediction; they are restored."""
    with restored(classifier.model) as before:
        eager_logits(classifier, x)
        changed = [
            weight.path
            for weight, old in zip(classifier.model.weights, before, strict=True)
            if not np.array_equal(ops.convert_to_numpy(weight), old, equal_nan=True)
        ]
    return when(
        changed,
        "training-mode",
        f"Weights change during a prediction ({', '.join(changed[:3])}): the model may "
        "be in training mode. Make its layers respect `training=False`.",
    )


@contextlib.contextmanager
def profiled(record: Callable[[Any, str, Any], None]) -> Iterator[None]:
    """Call `record` as `sys.setprofile` describes; a profiler of the user pauses."""
    previous = sys.getprofile()
    # `cProfile` cannot be restored by `sys.setprofile`.
    restore = getattr(previous, "enable", lambda: sys.setprofile(previous))
    sys.setprofile(record)
    try:
        yield
    finally:
        sys.setprofile(None)
        restore()


def dynamic_defence(classifier: Classifier, x: np.ndarray) -> Findings:
    """Find a model that computes gradients during a prediction."""
    called: set[str] = set()

    def record(frame: Any, event: str, _: Any) -> None:
        if event == "call" and frame.f_code.co_name in GRADIENT_CALLS:
            called.add(frame.f_code.co_name)

    with profiled(record):
        eager_logits(classifier, x[:1])
    return when(
        called,
        "dynamic-defence",
        f"The model calls {', '.join(sorted(called))} during a prediction: a defense "
        "that optimizes at test time needs a specially adapted attack.",
    )


def loop_in_prediction(classifier: Classifier, x: np.ndarray) -> Findings:
    """Find a model that runs a loop during a prediction, perhaps an optimization.

    Loops inside of libraries do not count, such as those of recurrent layers and random
    numbers. Loops of Python do not show, unless they compute gradients, which
    `dynamic_defence` finds.
    """
    called: set[str] = set()

    def record(frame: Any, event: str, _: Any) -> None:
        if event == "call" and frame.f_code.co_name in LOOP_CALLS:
            if _is_library(frame) and not _is_library(_caller(frame)):
                called.add(frame.f_code.co_name)

    with profiled(record):
        eager_logits(classifier, x[:1])
    return when(
        called,
        "loop-in-prediction",
        f"The model calls {', '.join(sorted(called))} during a prediction. If the loop "
        "optimizes something, no fixed attack takes it into account, and RobustBench "
        "does not accept the model. Say in your claim what the loop computes.",
    )


def _caller(frame: Any) -> Any:
    """Return the frame that calls a function of a library, without its wrappers."""
    caller = frame.f_back
    while _is_library(caller) and caller.f_code.co_name in WRAPPERS:
        caller = caller.f_back
    return caller


def _is_library(frame: Any) -> bool:
    name = frame.f_globals.get("__name__") if frame is not None else None
    return str(name).partition(".")[0] in LIBRARIES


def randomised_defence(
    runs: Iterable[np.ndarray], y: np.ndarray, *, expected: bool = False
) -> Findings:
    """Find predictions that differ between calls.

    Args:
        runs: logits (batch, classes) of the same images, from several calls.
        y: (batch,) integer labels.
        expected: whether an attack for randomized models will run.
    """
    scores = list(runs)
    correct = {int(np.sum(logits.argmax(axis=1) == y)) for logits in scores}
    units = [z / (np.linalg.norm(z, axis=1, keepdims=True) + 1e-10) for z in scores]
    apart = max(np.linalg.norm(u - v, axis=1).max() for u in units for v in units)
    advice = (
        "Trust only attacks that average over random draws"
        if expected
        else "Attacks that do not average over random draws overstate robustness: run "
        "--attacks autoattack_rand, or AutoAttack(version='rand') in code"
    )
    return when(
        len(correct) > 1 or apart > SCORE_TOLERANCE,
        "randomised-defence",
        f"The logits of the same images differ between calls (by {apart:.1e}; "
        f"{min(correct)} to {max(correct)} of {len(y)} images are correct). {advice}.",
    )


def batch_dependence(classifier: Classifier, x: np.ndarray) -> Findings:
    """Find logits that depend on the other images in the batch."""
    whole = eager_logits(classifier, x)
    apart = max(
        np.abs(eager_logits(classifier, x[:size]) - whole[:size]).max()
        for size in {1, -(-len(x) // 2)}
    )
    return when(
        apart > 1e-3 * max(1.0, np.abs(whole).max()),
        "batch-dependence",
        f"The logits of an image change by up to {apart:.2g} with the other images in "
        "the batch: a BatchNormalization layer may be in training mode.",
    )


def identical_logits(x: np.ndarray, logits: np.ndarray) -> Findings:
    """Find different images with exactly equal logits."""
    images = len(np.unique(x.reshape(len(x), -1), axis=0))
    outputs = len(np.unique(logits, axis=0))
    return when(
        outputs < images,
        "identical-logits",
        f"{images} different images have only {outputs} different logits: the model "
        "may quantize, saturate or ignore its input.",
    )


def raw_outputs(classifier: Classifier, x: np.ndarray) -> np.ndarray:
    """Return the model's own output, including its last activation."""
    outputs = classifier.outputs(ops.convert_to_tensor(x, "float32"))
    return ops.convert_to_numpy(ops.cast(outputs, "float32"))


def eager_logits(classifier: Classifier, x: np.ndarray) -> np.ndarray:
    """Return logits without compiling, so that random and stateful layers show."""
    images = ops.convert_to_tensor(x, "float32")
    return ops.convert_to_numpy(classifier.logits(images))


def _gradient(
    classifier: Classifier, x: np.ndarray, y: np.ndarray, loss: str
) -> np.ndarray:
    """Return the gradients of a loss, (batch, pixels)."""
    function: Callable[..., Any] = {"ce": losses.cross_entropy, "dlr": losses.dlr}[loss]
    gradient = classifier.compiled(
        ("checks", loss),
        lambda images, labels: backend.input_gradient(
            lambda u: function(labels, classifier.logits(u)), images
        ),
    )(ops.convert_to_tensor(x, "float32"), ops.convert_to_tensor(y, "int32"))
    return ops.convert_to_numpy(gradient).reshape(len(x), -1)
