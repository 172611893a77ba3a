"""Train and attack on several devices, and print how far the results differ.

    python -m tests.kmtard.backend.agreement COUNTS train STEPS METHOD ...
    python -m tests.kmtard.backend.agreement COUNTS attack ATTACK ...

COUNTS are numbers of devices, such as 1,2,4. It runs in a process of its own, because
JAX counts its devices once. The last batch of an epoch is smaller than the others, and
no number of devices divides it.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

# On a busy machine, one device may wait long for the others.
FLAG = (
    "--xla_force_host_platform_device_count=4 "
    "--xla_cpu_collective_call_terminate_timeout_seconds=600"
)
BATCH, LAST = 16, 7
RADII = {"linf": 0.15, "l2": 1.0, "l1": 4.0}


def train(name: str, devices: int, steps: int) -> dict[str, Any]:
    """Return the variables and logs after a number of steps, the last one partial."""
    import keras
    import numpy as np
    from keras import ops

    from kmtard import methods, registry
    from kmtard.attacks import PGD
    from kmtard.backend import distribution
    from kmtard.data.digits import digits
    from kmtard.data.pipeline import TrainingStream
    from kmtard.networks.small_cnn import small_cnn
    from kmtard.optimizers import L2SGD

    keras.distribution.set_distribution(None)
    distribution.distribute(devices)
    data = digits(None)

    def network(seed: int) -> Any:
        keras.utils.set_random_seed(seed)
        return small_cnn(10, data.input_shape, width=4)

    needed = registry.positional("methods", name)
    seeds = {"nat_teacher": 1, "adv_teacher": 2}
    model, callbacks = methods.build(
        name,
        student=network(0),
        **{role: network(seeds[role]) for role in needed if role in seeds},
        attack=PGD(8 / 255, steps=3),
        seed=5,
    )
    model.compile(L2SGD(0.05, momentum=0.9, weight_decay=2e-4))
    model.optimizer.build(model.trainable_variables)

    def values() -> list[Any]:
        return [np.array(ops.convert_to_numpy(v.value)) for v in model.variables]

    begun = values()
    images = data.train.limit(BATCH * (steps - 1) + LAST)
    stream = TrainingStream(images, batch_size=BATCH, seed=3, pad=1)
    for each in callbacks:
        if hasattr(each, "steps_per_epoch"):
            each.steps_per_epoch = steps
    with stream.dataset() as batches:
        logs = model.fit(batches, shuffle=False, verbose=0, callbacks=callbacks).history
    assert int(model.steps_taken.value) == steps
    placed = {len(v.value.sharding.device_set) for v in model.variables}
    assert placed == {devices}, "the variables are not on all devices"
    return {
        "begun": begun,
        "ended": values(),
        "logs": {key: row[0] for key, row in logs.items()},
    }


def furthest(first: list[Any], second: list[Any]) -> float:
    """Return the largest difference between two lists of arrays."""
    import numpy as np

    pairs = zip(first, second, strict=True)
    return max(float(np.abs(a - b).max(initial=0)) for a, b in pairs if a.dtype.kind)


def compare(name: str, steps: int, counts: list[int]) -> dict[str, Any]:
    """Return the largest differences of a method on several devices from one."""
    one, *others = (train(name, count, steps) for count in counts)
    logs = [
        max(abs(other["logs"][key] - value) for key, value in one["logs"].items())
        for other in others
    ]
    return {
        "begun": max(furthest(one["begun"], other["begun"]) for other in others),
        "ended": max(furthest(one["ended"], other["ended"]) for other in others),
        "logs": max(logs),
    }


def evaluated(name: str, devices: int, network: Any, surrogate: Any) -> Any:
    """Return a network's predictions under an attack, in partial batches too."""
    import keras

    from kmtard import registry
    from kmtard.backend import distribution
    from kmtard.data.digits import digits
    from kmtard.evaluation.evaluator import evaluate

    keras.distribution.set_distribution(None)
    distribution.distribute(devices)
    networks = []
    for each in (network, surrogate):
        copy = keras.models.clone_model(each)
        copy.set_weights(each.get_weights())
        networks.append(copy)
    norm = registry.norms(name)[0]
    found = evaluate(
        networks[0],
        digits(None).test.limit(BATCH + LAST),
        attacks=[name],
        surrogate=networks[1],
        epsilon=RADII[norm],
        norm=norm,
        batch_size=BATCH,
        seed=3,
    )
    assert found.environment.get("devices", 1) == devices
    predictions = found.student.attacks[name].predictions
    assert predictions is not None
    return predictions


def attack(names: list[str], counts: list[int]) -> dict[str, Any]:
    """Return for each attack the number of images with another prediction."""
    import keras
    import numpy as np

    from kmtard.data.digits import digits
    from kmtard.methods.trades import TRADES
    from kmtard.networks.small_cnn import small_cnn
    from kmtard.optimizers import L2SGD

    data = digits(None)
    networks = []
    for seed in range(2):
        keras.utils.set_random_seed(seed)
        networks.append(small_cnn(10, data.input_shape, width=4))
    model = TRADES(networks[0])
    model.compile(L2SGD(0.1, momentum=0.9))
    images = np.asarray(data.train.images, "float32") / 255
    model.fit(images, data.train.labels, batch_size=64, epochs=4, verbose=0)
    found = {}
    for name in names:
        one, *others = (evaluated(name, count, *networks) for count in counts)
        found[name] = int(max(np.sum(one != other) for other in others))
    return found


def noise() -> bool:
    """Return whether 4 devices draw the same start noise as one, bit for bit."""
    import jax
    import keras
    import numpy as np

    from kmtard.backend import distribution, jax_distribution

    def draw(seed: Any, x: Any) -> Any:
        return x + keras.random.normal(x.shape, seed=seed)

    x = np.zeros((BATCH, 8, 8, 1), "float32")
    seed = np.array([5, 7], "uint32")
    alone = np.asarray(jax.jit(draw)(seed, x))
    distribution.distribute(4)
    layout = jax_distribution.layout()
    assert layout is not None
    shared = jax.jit(draw, out_shardings=layout.rows)(seed, jax_distribution.place(x))
    assert len(shared.sharding.device_set) == 4
    return bool(np.array_equal(alone, np.asarray(shared)))


def compute_in_float64() -> None:
    """Let Keras promote to float64.

    On JAX, Keras turns each promoted float64 into float32, among them the inputs of
    BatchNorm. Their rounding is as large as that of a float32 network.
    """
    from keras.src.backend.common import dtypes

    dtypes.BIT64_TO_BIT32_DTYPE["float64"] = "float64"


def main() -> None:
    """Print one JSON object: name -> how far the results differ."""
    os.environ["KERAS_BACKEND"] = "jax"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {FLAG}"
    os.environ["JAX_CPU_ENABLE_ASYNC_DISPATCH"] = "false"
    # With as many threads as cores, devices that wait for each other can hold them all.
    os.environ["NPROC"] = "32"
    if os.environ.get("JAX_ENABLE_X64"):
        import keras

        keras.config.set_floatx("float64")
        compute_in_float64()
    given, what, *names = sys.argv[1:]
    counts = [int(count) for count in given.split(",")]
    found: dict[str, Any]
    if what == "attack":
        found = attack(names, counts)
    else:
        steps = int(names.pop(0))
        found = {name: compare(name, steps, counts) for name in names}
    print(json.dumps({**found, "same noise": noise()}))


if __name__ == "__main__":
    main()
