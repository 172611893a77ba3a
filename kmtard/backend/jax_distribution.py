"""JAX: one model on several devices, by the `DataParallel` of Keras.

Keras gives all batches of an epoch the layout of the first one, in which a smaller last
batch has no place. During `fit` and `evaluate`, batches are therefore placed here, each
by its own size. BatchNorm, losses and balances are those of the whole batch, because
XLA compiles the step as on one device and adds what the devices exchange.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jax
import keras
import numpy as np
from jax.experimental import multihost_utils

HEARTBEAT = 20
"""Seconds after which a process that no longer answers counts as ended."""

CONNECTING = 300
"""Seconds in which all processes must have started."""

LOST = (
    "gloo",
    "connection closed by peer",
    "connection reset by peer",
    "coordination service",
    "heartbeat",
    "nccl",
)
"""What errors say, in lower case, if another process has ended."""

_suspended: keras.distribution.DataParallel | None = None


@dataclass(frozen=True)
class Layout:
    """How arrays lie on the devices.

    Attributes:
        rows: each device has an equal part of the first axis.
        whole: each device has all.
    """

    rows: jax.sharding.NamedSharding
    whole: jax.sharding.NamedSharding

    @property
    def count(self) -> int:
        """Number of devices, of all processes together."""
        return self.rows.mesh.size

    def of(self, shape: tuple[int, ...]) -> jax.sharding.NamedSharding:
        """Return the layout of a batch: whole if it cannot be divided equally."""
        return self.rows if shape and shape[0] % self.count == 0 else self.whole


def layout() -> Layout | None:
    """Return the layout of the active `DataParallel`; None without one."""
    found = _suspended or keras.distribution.distribution()
    if not isinstance(found, keras.distribution.DataParallel):
        return None
    mesh = found.device_mesh.backend_mesh
    spec = jax.sharding.PartitionSpec
    return Layout(
        jax.sharding.NamedSharding(mesh, spec(found.batch_dim_name)),
        jax.sharding.NamedSharding(mesh, spec()),
    )


def by_hand(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method of `keras.Model` in which Keras places no batches itself."""

    @functools.wraps(method)
    def run(*args: Any, **kwargs: Any) -> Any:
        global _suspended
        active = keras.distribution.distribution()
        if not isinstance(active, keras.distribution.DataParallel):
            return method(*args, **kwargs)
        before, _suspended = _suspended, active
        keras.distribution.set_distribution(None)
        try:
            return method(*args, **kwargs)
        finally:
            _suspended = before
            keras.distribution.set_distribution(active)

    return run


def placing(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return Keras's step function, with each batch placed before the step."""

    def step(state: Any, batches: Iterator[Any]) -> Any:
        return function(state, map(place, batches) if layout() else batches)

    return step


def place(batch: Any) -> Any:
    """Return nested arrays of a whole batch on the devices.

    Arrays that are there already, such as those of `feed`, stay as they are.
    """
    found = layout()
    if found is None:
        return batch

    def put(array: Any) -> Any:
        if array is None or _is_placed(array, found):
            return array
        target = found.of(np.shape(array))
        if jax.process_count() == 1:
            return jax.device_put(array, target)
        whole = np.asarray(array)
        return jax.make_array_from_callback(whole.shape, target, whole.__getitem__)

    return keras.tree.map_structure(put, batch, none_is_leaf=False)


def _is_placed(array: Any, found: Layout) -> bool:
    if not isinstance(array, jax.Array):
        return False
    return bool(array.sharding.device_set == found.whole.device_set)


def kept(state: Any) -> Any:
    """Keep the variables that a step returns whole on each device."""
    found = layout()
    if found is None:
        return state
    keep = functools.partial(jax.lax.with_sharding_constraint, shardings=found.whole)
    return jax.tree.map(keep, state)


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function of a list of variables and of batches.

    With several devices, batches are divided among them, and each device gets all of
    the results.
    """
    found = layout()
    if found is None:
        return jax.jit(function)

    @functools.partial(jax.jit, out_shardings=found.whole)
    def shared(values: list, *args: Any) -> Any:
        return function(values, *jax.tree.map(divided, args))

    # Also what an earlier call returned, which lies whole on each device.
    def divided(array: jax.Array) -> jax.Array:
        return jax.lax.with_sharding_constraint(array, found.of(array.shape))

    return lambda values, *args: shared(values, *map(place, args))


def names() -> list[jax.Device]:
    """Return the devices that are used; all that JAX sees without a distribution."""
    found = layout()
    return jax.devices() if found is None else list(found.rows.mesh.devices.flat)


def distribute(count: int | str) -> int:
    # Programs that wait for one another may take all threads of a CPU's devices. It has
    # an effect only before the first computation, and none on accelerators.
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    found = jax.devices()
    processes = jax.process_count()
    if count == "all":
        count = len(found)
    if not isinstance(count, int) or count > len(found):
        where = f" of {processes} processes together" if processes > 1 else ""
        raise ValueError(
            f"Expected {count} devices{where}. Received: {len(found)}, which is what "
            f"JAX finds: {_shown(found)}. Ask for at most {len(found)}, or for "
            '"all".'
        )
    if count % processes:
        raise ValueError(
            f"Expected as many devices in each of {processes} processes. Received: "
            f"{count} devices. Ask for a multiple of {processes}."
        )
    chosen = []
    for process in range(processes):
        own = [device for device in found if device.process_index == process]
        if len(own) < count // processes:
            raise ValueError(
                f"Expected {count // processes} devices in each of {processes} "
                f"processes. Received: {len(own)} in process {process}."
            )
        chosen += own[: count // processes]
    if count == 1 and processes == 1:
        return 1
    # So that the same seed gives the same noise, however many devices draw it.
    jax.config.update("jax_threefry_partitionable", True)
    labels = [f"{device.platform}:{device.id}" for device in chosen]
    keras.distribution.set_distribution(
        keras.distribution.DataParallel(devices=labels, auto_shard_dataset=False)
    )
    return count


def _shown(devices: list[jax.Device]) -> str:
    shown = ", ".join(str(device) for device in devices[:4])
    return shown if len(devices) <= 4 else f"{shown} and {len(devices) - 4} more"


def join(processes: int, coordinator: str | None) -> None:
    """Connect this process with the others; see `kmtard.backend.distribution.join`."""
    address = coordinator or os.environ.get("KERAS_DISTRIBUTION_JOB_ADDRESSES")
    number = os.environ.get("KERAS_DISTRIBUTION_PROCESS_ID")
    # What is None here, JAX looks up itself, for example in what SLURM sets.
    jax.distributed.initialize(
        coordinator_address=address.split(",")[0] if address else None,
        num_processes=processes,
        process_id=int(number) if number else None,
        initialization_timeout=CONNECTING,
        heartbeat_timeout_seconds=HEARTBEAT,
    )


def process() -> tuple[int, int]:
    return jax.process_index(), jax.process_count()


def share(found: Layout, count: int) -> slice:
    if count % found.count:
        return slice(0, count)
    index, processes = process()
    part = count // processes
    return slice(index * part, (index + 1) * part)


def feed(found: Layout, part: np.ndarray, count: int) -> Any:
    whole = (count, *part.shape[1:])
    return jax.make_array_from_process_local_data(found.of(whole), part, whole)


def own_rows(array: Any) -> np.ndarray:
    """Return an array; of one that several processes divide, this process's rows."""
    there = not isinstance(array, jax.Array) or array.is_fully_addressable
    if there or array.is_fully_replicated:
        return np.asarray(array)
    parts = {part.index[0].start: part.data for part in array.addressable_shards}
    return np.concatenate([np.asarray(parts[start]) for start in sorted(parts)])


def broadcast(data: bytes | None) -> bytes:
    mine = np.frombuffer(data or b"", np.uint8)
    size = int(multihost_utils.broadcast_one_to_all(np.int64(len(mine))))
    padded = np.zeros(size, np.uint8)
    padded[: len(mine)] = mine[:size]
    return np.asarray(multihost_utils.broadcast_one_to_all(padded)).tobytes()


def any_of(flag: bool) -> Callable[[], bool]:
    found = layout()
    if found is None:  # a distribution is set before any step
        raise RuntimeError("Expected a distribution. Received: none.")
    own = len(found.rows.addressable_devices)
    flags = jax.make_array_from_process_local_data(found.rows, np.full(own, flag))
    # Not awaited here: the devices are still busy with the step.
    answer = jax.jit(jax.numpy.any, out_shardings=found.whole)(flags)
    return lambda: bool(answer)


def wait_for_all(name: str) -> None:
    multihost_utils.sync_global_devices(name)


def is_lost(error: BaseException) -> bool:
    text = str(error).lower()
    return jax.process_count() > 1 and any(word in text for word in LOST)
