"""Evaluate one network under every attack, batch by batch, and store each batch."""

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
from scipy.special import softmax

import kmtard
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
    l1_distances,
)
from kmtard.evaluation.corruptions.choice import Corruptions
from kmtard.evaluation.corruptions.sources import CorruptedImages, source_of
from kmtard.evaluation.diagnostics.diagnose import norm_of, of_batch, of_model
from kmtard.evaluation.diagnostics.finding import Finding
from kmtard.evaluation.fingerprints import (
    UNIDENTIFIED,
    model_fingerprint,
    settings_of,
)
from kmtard.evaluation.images import ImageSet
from kmtard.evaluation.pictures import picture_indices, to_pixels, write_pictures
from kmtard.evaluation.result import CLEAN, Column, corruption_score
from kmtard.evaluation.store import Batch, BatchStore
from kmtard.registry import label
from kmtard.registry.corruptions import CORRUPTIONS, SEVERITIES
from kmtard.runs import safe_name
from kmtard.runs.files import make_folder, replaced
from kmtard.runs.records import CorruptionScore

SLACK = {"linf": 1e-6, "l2": 1e-5, "l1": 1e-4}
"""Tolerance of distances from the clean image, for float32 rounding."""

DIAGNOSTICS = "diagnostics-of-the-model"
"""Begins the name of the folder of what was found about the model before attacks."""

DIGITS = 4
"""Decimals of a confidence."""

PULSE = 1.0
"""Smallest number of seconds between two reports within a batch."""

NOT_RESUMED = Finding(
    "not-resumed",
    "The configuration does not identify the model: one of its classes has no "
    "`get_config`, or an argument is a Python function. Finished batches in the folder "
    "may be of another model, so everything was computed again. Define `get_config` in "
    "the class to let evaluations continue where they stopped.",
)


@dataclass(frozen=True)
class Step:
    """The progress of an evaluation: before each attack, within and after each batch.

    Attributes:
        attack: name of the attack, or `clean`.
        number: number of the attack, counted from 1, with clean as the first.
        attacks: number of attacks, including clean.
        done: number of finished images.
        images: number of images that this attack works on.
        accuracy: estimated accuracy on all images, in [0, 1], from the finished ones;
            None before the first batch.
        note: a message for the user, or empty.
        doing: within a batch, the running attack of a sequence, or empty. None before
            an attack and after a batch, when no work is lost if the evaluation ends.
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
    """Evaluates one network on one set of images.

    Args:
        classifier: the classifier of the network.
        images: the images and labels.
        names: `clean`, the names of the attacks, and those of the corruptions, in
            order.
        seed: seed of all random numbers.
        batch_size: number of images per batch.
        watch: called with each step; an exception that it raises ends the evaluation.
        save_images: whether to store all adversarial images with the batches.
        diagnose: whether to run the diagnostics, which need some attacks on one batch.
        findings: the findings so far.
        smaller: the smaller radii on which the outcomes depend; see `attacked`.
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
    smaller: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Store neither batches nor pictures until a folder is given."""
        self._step: Step
        self._pulsed = time.monotonic()
        self._store: Path | None = None
        self._common: dict[str, Any] = {}
        self._stores: dict[str, BatchStore] = {}
        self._pictures: Path | None = None
        self._pictured = np.zeros(0, int)

    def keep_batches(self, folder: Path) -> None:
        """Store finished batches in a folder, and reuse the existing ones.

        Nothing is reused if the configuration does not identify the model, because the
        batches may be those of another model.
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
        if self.smaller:
            self._common["smaller_epsilons"] = list(self.smaller)
        if self._common["model"] == UNIDENTIFIED:
            self.findings.append(NOT_RESUMED)

    def keep_pictures(self, folder: Path) -> tuple[int, ...]:
        """Save up to 64 images per column as PNG in a folder; return their indices."""
        self._pictures = folder
        shape, last = self.images.source.shape, self.classifier.channels_last
        self._pictured = picture_indices(shape, channels_last=last)
        return tuple(self._pictured.tolist())

    def clean(self) -> Column:
        """Return the outcome on the clean images.

        Raises:
            ValueError: images or labels are invalid, or logits are not finite.
        """
        everything = np.arange(len(self.images))
        batches = self._batches(CLEAN, {}, everything, self._classified)
        aggregate = Aggregate(batches)
        self.right = everything[~aggregate.fooled]
        pixels = to_pixels(self.images.batch(self._pictured))
        pictures = dict(zip(self._pictured.tolist(), pixels, strict=True))
        return self._keep(CLEAN, pictures, aggregate.column(everything, None, {}))

    def check(self, attacks: Mapping[str, Attack]) -> None:
        """Run the diagnostics of the network, on the first batch, or read them."""
        if not self.diagnose:
            return
        store = self._diagnostics_store(attacks)
        first = np.arange(min(self.batch_size, len(self.images)))
        batch = store.read(0, first) if store else None
        if batch is None:
            x, y = self.images.batch(first), self.images.labels[first]
            found = of_model(self.classifier, x, y, attacks)
            batch = {
                "indices": first,
                FINDINGS: np.array(found, str).reshape(-1, 2),
            }
            if store:
                store.write(0, batch)
        self.findings += [Finding(*map(str, pair)) for pair in batch[FINDINGS]]

    def attacked(
        self, name: str, attack: Attack, clean: Column, before: Column | None = None
    ) -> Column:
        """Return the outcome under an attack.

        Args:
            name: name of the attack.
            attack: the attack, which runs on the correctly classified images.
            clean: the result of the method `clean`.
            before: outcome of the attack with a smaller radius. The images that it
                fooled there are fooled here, too, and are not attacked again.

        Raises:
            ValueError: the attack does not support the images, or logits are not
                finite.
        """
        settings = settings_of(attack)

        images = self.right
        if before is not None:
            images = images[before.robust[images]]

        def craft(indices: np.ndarray) -> Batch:
            return self._crafted(attack, indices, first=indices[0] == images[0])

        aggregate = Aggregate(self._batches(name, settings, images, craft))
        self.findings += aggregate.findings(name)
        if self.save_images:
            self._export_images(name, settings)
        column = aggregate.column(images, clean, settings, before)
        return self._keep(name, aggregate.pictures, column)

    def corrupted_images(self, corruptions: Corruptions) -> CorruptedImages:
        """Return the source of the corrupted images.

        Raises:
            ValueError: the images cannot be corrupted, or published files are not
                theirs.
        """
        last = self.classifier.channels_last
        return source_of(corruptions, self.images, seed=self.seed, channels_last=last)

    def corrupted(
        self, name: str, source: CorruptedImages, baseline: float | None
    ) -> CorruptionScore:
        """Return the accuracies on the images of a corruption.

        Args:
            name: the corruption.
            source: the corrupted images.
            baseline: mean error of the model that mCE refers to, or None.

        Raises:
            ValueError: a published file is damaged, or logits are not finite.
        """
        settings = source.settings(name)
        count = len(self.images)

        def classify(items: np.ndarray) -> Batch:
            # All images at severity 1 come first, then those at severity 2.
            places, indices = items // count, items % count
            pixels = np.concatenate(
                [
                    source.pixels(name, SEVERITIES[place], indices[places == place])
                    for place in np.unique(places)
                ]
            )
            if not self.classifier.channels_last:
                pixels = np.moveaxis(pixels, -1, 1)
            return self._predicted(items, pixels / np.float32(255), indices)

        items = np.arange(len(SEVERITIES) * count)
        stored = {"corruption": name, **settings}
        batches = self._batches(name, stored, items, classify, among=len(items))
        right = ~Aggregate(batches).fooled.reshape(len(SEVERITIES), count)
        return corruption_score(right, settings, baseline)

    def _batches(
        self,
        name: str,
        settings: dict[str, Any],
        images: np.ndarray,
        make: Callable[[np.ndarray], Batch],
        *,
        among: int | None = None,
    ) -> Iterator[Batch]:
        """Yield the batches of an attack, from the store or newly made and stored.

        Args:
            name: name of the attack.
            settings: its settings.
            images: indices of the images that it works on.
            make: makes a batch from its indices.
            among: number of images that the accuracy refers to; None for all images.
        """
        store = self._batch_store(name, settings)
        place = (name, self.names.index(name) + 1, len(self.names))
        note = _note(store) if store else ""
        self._step = Step(*place, 0, len(images))
        self.watch(replace(self._step, note=note))
        share = len(images) / (among or len(self.images))
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
            # Version 0.1 named the folder after the label.
            folder = safe_name(label(name))
            self._stores[name] = BatchStore(self._store, folder, whole, keep=keep)
        return self._stores[name]

    def _diagnostics_store(self, attacks: Mapping[str, Attack]) -> BatchStore | None:
        if self._store is None:
            return None
        whole = {
            **self._common,
            "kmtard": kmtard.__version__,
            "attacks": {name: settings_of(each) for name, each in attacks.items()},
        }
        keep = UNIDENTIFIED not in json.dumps(whole)
        return BatchStore(self._store, DIAGNOSTICS, whole, keep=keep)

    def _saves(self, name: str) -> bool:
        return self.save_images and name not in (CLEAN, *CORRUPTIONS)

    def _classified(self, indices: np.ndarray) -> Batch:
        return self._predicted(indices, self.images.batch(indices), indices)

    def _predicted(
        self, items: np.ndarray, x: np.ndarray, indices: np.ndarray
    ) -> Batch:
        """Return the batch of the predictions for images.

        Args:
            items: int (batch,), what identifies the images in the batch.
            x: (batch, ...) images in [0, 1].
            indices: int (batch,), the indices of their labels.
        """
        # The last batch is padded, so that only one batch size is compiled.
        x = x[np.resize(np.arange(len(x)), self.batch_size)]
        check_images(x)
        labels = self.images.labels[indices]
        check_labels(labels, len(labels), self.classifier.num_classes)
        began = time.monotonic()
        tensor = ops.convert_to_tensor(x, "float32")
        predicted = self.classifier.predict(tensor)[: len(indices)]
        once, never = np.ones(len(indices), int), np.zeros(len(indices), int)
        return {
            "indices": items,
            "success": predicted != labels,
            **{"queries": once, "forwards": once, "backwards": never},
            **{"outside": never, "linf": never, "l2": never},
            FINDINGS: np.zeros((0, 2), str),
            "seconds": np.array(time.monotonic() - began),
            "predictions": predicted,
        }

    def _crafted(self, attack: Attack, indices: np.ndarray, *, first: bool) -> Batch:
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
        l1 = l1_distances(x, x_adv)
        outside = _outside(attack, x_adv, {"linf": linf, "l2": l2, "l1": l1})
        # One batch is enough; the first one gives the earliest warning.
        diagnose = self.diagnose and first
        found = of_batch(attack, self.classifier, x, x_adv, y) if diagnose else []
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

    def _keep(
        self, name: str, pictures: Mapping[int, np.ndarray], column: Column
    ) -> Column:
        """Write the pictures of a column; return it with the confidences for them."""
        if self._pictures is None:
            return column
        write_pictures(
            self._pictures / safe_name(name),
            pictures,
            channels_last=self.classifier.channels_last,
        )
        # Batches of version 0.1 have no predictions.
        if column.predictions is None:
            return column
        confidences = self._confidences(pictures, column.predictions)
        return replace(column, confidences=confidences)

    def _confidences(
        self, pictures: Mapping[int, np.ndarray], predictions: np.ndarray
    ) -> dict[int, float]:
        """Return the probability of each recorded prediction, for the saved pixels.

        The pixels are all that a stored batch keeps of an adversarial image, so that an
        evaluation from stored batches has the same confidences.
        """
        indices, confidences = list(pictures), {}
        for first in range(0, len(indices), self.batch_size):
            some = indices[first : first + self.batch_size]
            # The last batch is padded, so that only one batch size is compiled.
            rows = np.resize(np.arange(len(some)), self.batch_size)
            x = np.stack([pictures[index] for index in some])[rows]
            tensor = ops.convert_to_tensor(x.astype("float32") / 255, "float32")
            shares = softmax(self.classifier.scores(tensor)[: len(some)], axis=1)
            for index, row in zip(some, shares, strict=True):
                # A model may return NaN for the rounded pixels alone.
                if np.isfinite(share := float(row[predictions[index]])):
                    confidences[index] = round(share, DIGITS)
        return confidences

    def _export_images(self, name: str, settings: dict[str, Any]) -> None:
        """Write the stored adversarial images to `NAME.npy`, in order.

        Images that were not attacked are written clean.

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
    """Return bool (N,), the images outside the ball or [0, 1], or with NaN."""
    norm = norm_of(attack)
    limit = getattr(attack, "epsilon", np.inf) + SLACK[norm]
    flat = x_adv.reshape(len(x_adv), -1)
    inside = (flat.min(axis=1) >= 0) & (flat.max(axis=1) <= 1)
    valid: np.ndarray = inside & (distance[norm] <= limit)
    return ~valid


def _stages(result: Any) -> Mapping[str, Any]:
    """Return the stages of an attack's result; empty if it has none."""
    return getattr(result, "stages", None) or {}


def _note(store: BatchStore) -> str:
    if not store.is_new:
        return f"continues in {store.path}"
    if differences := store.differences():
        return f"starts again: the settings have changed ({'; '.join(differences)})"
    return ""
