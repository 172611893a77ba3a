"""One network under every attack, one batch at a time, each kept on the disk."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from kmtard.attacks import Attack
from kmtard.attacks.classifier import Classifier
from kmtard.attacks.inputs import check_images, check_labels
from kmtard.evaluation.aggregate import (
    FINDINGS,
    PICTURED,
    PICTURES,
    STAGE,
    Aggregate,
    distances,
)
from kmtard.evaluation.diagnostics.diagnose import norm_of, of_batch, of_model
from kmtard.evaluation.diagnostics.finding import Finding
from kmtard.evaluation.fingerprints import (
    UNIDENTIFIED,
    model_fingerprint,
    settings_of,
)
from kmtard.evaluation.images import ImageSet
from kmtard.evaluation.pictures import picture_indices, to_pixels, write_pictures
from kmtard.evaluation.result import CLEAN, Column
from kmtard.evaluation.store import Batch, BatchStore
from kmtard.registry import label
from kmtard.runs import safe_name
from kmtard.runs.files import make_folder, replaced

SLACK = {"linf": 1e-6, "l2": 1e-5}
"""What float32 may add to a distance from the clean image."""

PULSE = 1.0
"""Seconds between two steps within a batch, at least."""

NOT_RESUMED = Finding(
    "not-resumed",
    "Nothing tells whether finished batches in the folder are of this very model: it "
    "has a class without a `get_config` of its own, or a Python function as an "
    "argument. Everything was computed anew. Give the class `get_config`, and "
    "evaluations go on where they stopped.",
)


@dataclass(frozen=True)
class Step:
    """The progress of an evaluation: before each attack, within and after each batch.

    Attributes:
        attack: its name, or `clean`.
        number: of the attack, from 1; clean is the first.
        attacks: how many there are.
        done: images that are finished.
        images: images that this attack works on.
        accuracy: of all images, if the rest do as these did; None before the first
            batch.
        note: something to tell the user; mostly empty.
        doing: within a batch, which attack of a sequence is at work, empty where there
            is none; None before an attack and after a batch, where it is safe to end.
    """

    attack: str
    number: int
    attacks: int
    done: int
    images: int
    accuracy: float | None = None
    note: str = ""
    doing: str | None = None


@dataclass
class NetworkEvaluator:
    """One network on one set of images.

    Args:
        classifier: of the network.
        images: what it is evaluated on.
        names: `clean` and the attacks, in their order.
        seed: of every random number.
        batch_size: images attacked at a time.
        watch: called with each step; what it raises ends the evaluation.
        save_images: whether all adversarial images are kept with the batches.
        diagnose: whether the diagnostics run, which cost some attacks on one batch.
    """

    classifier: Classifier
    images: ImageSet
    names: tuple[str, ...]
    seed: int
    batch_size: int
    watch: Callable[[Step], None]
    save_images: bool = False
    diagnose: bool = True
    findings: list[Finding] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Keep neither batches nor pictures, until told where."""
        self._step: Step
        self._pulsed = time.monotonic()
        self._store: Path | None = None
        self._common: dict[str, Any] = {}
        self._stores: dict[str, BatchStore] = {}
        self._pictures: Path | None = None
        self._pictured = np.zeros(0, int)

    def keep_batches(self, folder: Path) -> None:
        """Keep finished batches in a folder, and take from there what is finished.

        Nothing is taken where the model cannot be identified: the batches there may be
        those of another one.
        """
        self._store = folder
        self._common = {
            "model": model_fingerprint(self.classifier.model),
            "images": self.images.fingerprint,
            "seed": self.seed,
            "batch_size": self.batch_size,
            "backend": keras.config.backend(),
        }
        if self.classifier.input_range != (0, 1):
            self._common["input_range"] = list(self.classifier.input_range)
        if self._common["model"] == UNIDENTIFIED:
            self.findings.append(NOT_RESUMED)

    def keep_pictures(self, folder: Path) -> tuple[int, ...]:
        """Keep up to 64 images of each column as PNG; return their numbers."""
        self._pictures = folder
        shape, last = self.images.source.shape, self.classifier.channels_last
        self._pictured = picture_indices(shape, channels_last=last)
        return tuple(self._pictured.tolist())

    def clean(self) -> Column:
        """Return which images the network classifies correctly as they are.

        Raises:
            ValueError: images or labels do not fit, or logits are not finite.
        """
        everything = np.arange(len(self.images))
        batches = self._batches(CLEAN, {}, everything, self._classified)
        aggregate = Aggregate(batches)
        self.right = everything[~aggregate.fooled]
        pixels = to_pixels(self.images.batch(self._pictured))
        self._keep(CLEAN, dict(zip(self._pictured.tolist(), pixels, strict=True)))
        return aggregate.column(everything, None, {})

    def check(self, attacks: Mapping[str, Attack]) -> None:
        """Run the diagnostics of the network, on the first batch."""
        if self.diagnose:
            first = np.arange(min(self.batch_size, len(self.images)))
            x, y = self.images.batch(first), self.images.labels[first]
            self.findings += of_model(self.classifier, x, y, attacks)

    def attacked(self, name: str, attack: Attack, clean: Column) -> Column:
        """Return which images an attack leaves correctly classified.

        Args:
            name: of the attack.
            attack: it works on the images that `clean` has right.
            clean: what `clean` returned.

        Raises:
            ValueError: the attack or the model refuses the images.
        """
        settings = settings_of(attack)

        def craft(indices: np.ndarray) -> Batch:
            return self._crafted(attack, indices)

        aggregate = Aggregate(self._batches(name, settings, self.right, craft))
        self.findings += aggregate.findings(name)
        self._keep(name, aggregate.pictures)
        if self.save_images:
            self._export_images(name, settings)
        return aggregate.column(self.right, clean, settings)

    def _batches(
        self,
        name: str,
        settings: dict[str, Any],
        images: np.ndarray,
        make: Callable[[np.ndarray], Batch],
    ) -> Iterator[Batch]:
        """Yield the batches of an attack: from the store, or made and stored."""
        store = self._batch_store(name, settings)
        place = (name, self.names.index(name) + 1, len(self.names))
        note = _note(store) if store else ""
        self._step = Step(*place, 0, len(images))
        self.watch(replace(self._step, note=note))
        share = len(images) / len(self.images)
        done = fooled = 0
        for number, first in enumerate(range(0, len(images), self.batch_size)):
            indices = images[first : first + self.batch_size]
            batch = store.read(number, indices) if store else None
            if batch is None or (self._saves(name) and "x_adv" not in batch):
                batch = make(indices)
                if store:
                    store.write(number, batch)
            done += len(indices)
            fooled += int(np.count_nonzero(batch["success"]))
            accuracy = share * (1 - fooled / done)
            self._step = Step(*place, done, len(images), accuracy)
            self.watch(self._step)
            yield batch

    def _batch_store(self, name: str, settings: dict[str, Any]) -> BatchStore | None:
        if self._store is None:
            return None
        if name not in self._stores:
            whole = {**self._common, "attack": settings}
            keep = UNIDENTIFIED not in json.dumps(whole)
            # By its label, as version 0.1 named the folder.
            folder = safe_name(label(name))
            self._stores[name] = BatchStore(self._store, folder, whole, keep=keep)
        return self._stores[name]

    def _saves(self, name: str) -> bool:
        return self.save_images and name != CLEAN

    def _classified(self, indices: np.ndarray) -> Batch:
        # The last batch is filled up, so that nothing compiles twice.
        x = self.images.batch(np.resize(indices, self.batch_size))
        check_images(x)
        labels = self.images.labels[indices]
        check_labels(labels, len(labels), self.classifier.num_classes)
        began = time.monotonic()
        tensor = ops.convert_to_tensor(x, "float32")
        predicted = self.classifier.predict(tensor)[: len(indices)]
        once, never = np.ones(len(indices), int), np.zeros(len(indices), int)
        return {
            "indices": indices,
            "success": predicted != labels,
            **{"queries": once, "forwards": once, "backwards": never},
            **{"outside": never, "linf": never, "l2": never},
            FINDINGS: np.zeros((0, 2), str),
            "seconds": np.array(time.monotonic() - began),
            "predictions": predicted,
        }

    def _crafted(self, attack: Attack, indices: np.ndarray) -> Batch:
        x, y = self.images.batch(indices), self.images.labels[indices]
        began = time.monotonic()
        self.classifier.pulse = self._pulse
        try:
            result = attack.run(
                self.classifier,
                x,
                y,
                seed=self.seed,
                indices=indices,
                batch_size=self.batch_size,
            )
        finally:
            self.classifier.pulse = lambda: None
        seconds = time.monotonic() - began
        x_adv = np.asarray(result.x_adv, "float32")
        linf, l2 = distances(x, x_adv)
        outside = _outside(attack, x_adv, {"linf": linf, "l2": l2})
        # One batch is enough, and the first one tells early.
        first = self.diagnose and indices[0] == self.right[0]
        found = of_batch(attack, self.classifier, x, x_adv, y) if first else []
        batch = {
            "indices": indices,
            "success": np.asarray(result.success) & ~outside,
            **{"queries": result.queries, "forwards": result.forwards},
            "backwards": result.backwards,
            **{"outside": outside, "linf": linf, "l2": l2},
            **{f"{STAGE}{k}": v.robust for k, v in _stages(result).items()},
            FINDINGS: np.array(found, str).reshape(-1, 2),
            "seconds": np.array(seconds),
            "predictions": result.predictions,
        }
        kept = np.isin(indices, self._pictured)
        if kept.any():
            batch |= {PICTURED: indices[kept], PICTURES: to_pixels(x_adv[kept])}
        return {**batch, "x_adv": x_adv} if self.save_images else batch

    def _pulse(self) -> None:
        now = time.monotonic()
        if now - self._pulsed < PULSE:
            return
        self._pulsed = now
        self.watch(replace(self._step, doing=self.classifier.doing))

    def _keep(self, name: str, pictures: Mapping[int, np.ndarray]) -> None:
        if self._pictures:
            write_pictures(
                self._pictures / safe_name(name),
                pictures,
                channels_last=self.classifier.channels_last,
            )

    def _export_images(self, name: str, settings: dict[str, Any]) -> None:
        """Gather the stored adversarial images in `NAME.npy`, in their order.

        Images that were not attacked are the clean ones.

        Raises:
            RunError: the file cannot be written.
        """
        if self._pictures is None:
            return
        store = self._batch_store(name, settings)
        path = self._pictures / f"{safe_name(name)}.npy"
        make_folder(path.parent)
        shape = (len(self.images), *self.images.source.shape[1:])
        with replaced(path) as temporary:
            file = np.lib.format.open_memmap(temporary, "w+", np.float32, shape)
            # On a full disk, writing to a mapped file would kill the process.
            with open(temporary, "r+b") as whole:
                os.posix_fallocate(whole.fileno(), 0, temporary.stat().st_size)
            for first in range(0, shape[0], self.batch_size):
                rows = np.arange(first, min(first + self.batch_size, shape[0]))
                file[rows] = self.images.batch(rows)
            starts = range(0, len(self.right), self.batch_size)
            for number, first in enumerate(starts):
                rows = self.right[first : first + self.batch_size]
                if store and (batch := store.read(number, rows)):
                    file[rows] = batch["x_adv"]
            file.flush()


def _outside(
    attack: Attack, x_adv: np.ndarray, distance: Mapping[str, np.ndarray]
) -> np.ndarray:
    """Tell which images are no valid outcome; NaN is none."""
    norm = norm_of(attack)
    limit = getattr(attack, "epsilon", np.inf) + SLACK[norm]
    flat = x_adv.reshape(len(x_adv), -1)
    inside = (flat.min(axis=1) >= 0) & (flat.max(axis=1) <= 1)
    valid: np.ndarray = inside & (distance[norm] <= limit)
    return ~valid


def _stages(result: Any) -> Mapping[str, Any]:
    """Return what the attacks inside an attack did, where it has some."""
    return getattr(result, "stages", None) or {}


def _note(store: BatchStore) -> str:
    if not store.is_new:
        return f"goes on in {store.path}"
    if differences := store.differences():
        return f"starts anew, the settings have changed ({'; '.join(differences)})"
    return ""
