"""`evaluate`: figures, store, breaks, checks of what came in, on every backend."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops
from PIL import Image

from kmtard.attacks import PGD, Attack, fgsm, pgd_sat, pgd_trades
from kmtard.attacks.autoattack import AutoAttack
from kmtard.attacks.base import AttackBatch, Found
from kmtard.data.digits import digits
from kmtard.data.pipeline import Split
from kmtard.evaluate import evaluate
from kmtard.evaluation import network_evaluator
from kmtard.evaluation.evaluator import Candidate, evaluate_networks
from kmtard.evaluation.images import ImageSet
from kmtard.evaluation.network_evaluator import NetworkEvaluator, Step
from kmtard.evaluation.result import Evaluation
from kmtard.evaluation.suites import Strength
from kmtard.runs.files import RunError
from kmtard.runs.results import parse, read_results

pytestmark = pytest.mark.once("torch")

IMAGES, BATCH = 20, 8
SIZES = [8, 8, 4]


@pytest.fixture(scope="module")
def data() -> tuple[np.ndarray, np.ndarray]:
    """Images and labels that the net below has mostly right, and not all."""
    generator = np.random.default_rng(0)
    x = generator.random((IMAGES, 4, 4, 1), "float32")
    y = (x[:, 0, 0, 0] > 0.5).astype("int32")
    y[[3, 11]] ^= 1
    return x, y


def linear() -> keras.Model:
    image = keras.Input((4, 4, 1))
    return keras.Sequential([image, layers.Flatten(), layers.Dense(2)])


@pytest.fixture(scope="module")
def model() -> keras.Model:
    """Linear: class 1 where the first pixel is bright."""
    model = keras.Sequential(
        [keras.Input((4, 4, 1)), layers.Flatten(), layers.Dense(2)]
    )
    kernel = np.zeros((16, 2), "float32")
    kernel[0] = [-4, 4]
    model.set_weights([kernel, np.array([2, -2], "float32")])
    return model


class Counting(Attack):
    """Notes which images it is asked to attack, and may break after some batches."""

    epsilon = 0.5

    def __init__(self, breaks_after: int | None = None, shift: float = 0.4) -> None:
        self.seen: list[int] = []
        self.calls: list[int] = []
        self.breaks_after, self.shift = breaks_after, shift

    def attack_batch(self, classifier: Any, batch: AttackBatch) -> Found:
        active = batch.active
        if len(self.calls) == self.breaks_after:
            raise KeyboardInterrupt
        self.calls.append(len(active))
        self.seen += batch.noise.indices[active].tolist()
        sign = ops.reshape(ops.cast(1 - 2 * batch.y, "float32"), (-1, 1, 1, 1))
        x_adv = batch.x + self.shift * sign
        counts = active.astype(int)
        return Found(x_adv, counts, counts, counts)

    def get_config(self) -> dict:
        return {"shift": self.shift}


class Clipped(Counting):
    """The same, kept in [0, 1]."""

    def attack_batch(self, classifier: Any, batch: AttackBatch) -> Found:
        found = super().attack_batch(classifier, batch)
        return replace(found, x_adv=ops.clip(found.x_adv, 0, 1))


def expected_robust(x: np.ndarray, y: np.ndarray, epsilon: float) -> np.ndarray:
    """The images whose first pixel is further from 0.5 than epsilon, and right."""
    margin = np.where(y == 1, 1, -1) * (x[:, 0, 0, 0] - 0.5)
    return margin > epsilon


def without_seconds(evaluation: Evaluation) -> dict[str, Any]:
    content = evaluation.to_dict()
    for network in content["networks"]:
        del network["weights"]
        for column in (network["clean"], *network["attacks"].values()):
            del column["cost"]["seconds"]
            # Like the pictures, only for an evaluation with a folder.
            column.pop("confidences", None)
    del content["pictures"]
    return content


@pytest.mark.every_backend
def test_figures(model: keras.Model, data: Any) -> None:
    x, y = data
    evaluation = evaluate(model, data, attacks="fgsm", epsilon=0.2, batch_size=BATCH)
    clean = expected_robust(x, y, 0.0)
    assert evaluation.clean.robust.tolist() == clean.tolist()
    robust = expected_robust(x, y, 0.2)
    column = evaluation.attacks["fgsm"]
    assert column.robust.tolist() == robust.tolist()
    assert 0 < robust.sum() < clean.sum() < IMAGES
    assert column.cost is not None and column.distance is not None
    assert (column.cost.forwards, column.cost.backwards) == (2, 1)
    assert column.distance.linf == pytest.approx(0.2, abs=1e-6)
    assert column.settings["epsilon"] == 0.2
    assert evaluation.environment["backend"] == keras.config.backend()
    assert evaluation.findings == ()


@pytest.mark.every_backend
@pytest.mark.parametrize("batch_size", [3, 20, 64])
def test_batches_do_not_matter(model: keras.Model, data: Any, batch_size: int) -> None:
    found = [
        evaluate(model, data, attacks=[pgd_sat(epsilon=0.2, steps=2)], batch_size=size)
        for size in (BATCH, batch_size)
    ]
    one, other = (each.attacks["pgd"].robust.tolist() for each in found)
    assert one == other


def test_attacks_get_names(model: keras.Model, data: Any) -> None:
    attacks = ["fgsm", PGD(steps=1), PGD(steps=2)]
    evaluation = evaluate(model, data, attacks=attacks)
    assert list(evaluation.attacks) == ["fgsm", "pgd", "pgd-2"]
    evaluation = evaluate(model, data, attacks={"mine": fgsm()})
    assert list(evaluation.attacks) == ["mine"]
    assert list(evaluate(model, data).attacks) == ["fgsm", "pgd_trades"]


@pytest.mark.once("torch")
@pytest.mark.parametrize("name", ["../../out", "/out", "..", "a/../../../out"])
def test_the_name_of_an_attack_does_not_leave_the_folder(
    model: keras.Model, data: Any, tmp_path: Path, name: str
) -> None:
    folder = tmp_path / "a" / "b"
    options: dict[str, Any] = {"folder": folder, "save_images": True}
    evaluate(model, data, attacks={name: Clipped()}, **options)
    outside = [path for path in tmp_path.rglob("*") if not path.is_relative_to(folder)]
    assert outside == [tmp_path / "a"]
    assert {path.name for path in folder.iterdir()} == {
        *("evaluation", "evaluation.json"),
    }
    assert list(folder.rglob("*.npy")) and list(folder.rglob("*.png"))


def test_data_set_and_split_and_name(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = digits()
    net = keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(10)])
    split = whole.test.limit(30)
    x = split.images.astype("float32") / 255
    arrays = evaluate(net, (x, split.labels), attacks=[])
    again = evaluate(net, split, attacks=[])
    assert arrays.clean.robust.tolist() == again.clean.robust.tolist()
    named = evaluate(net, "digits", attacks=[])
    assert named.images == len(whole.test)
    assert named.fingerprint == evaluate(net, whole, attacks=[]).fingerprint
    assert named.fingerprint != again.fingerprint


def test_only_images_that_are_right_are_attacked_once_each(
    model: keras.Model, data: Any
) -> None:
    attack = Clipped()
    evaluation = evaluate(model, data, attacks=[attack], batch_size=BATCH)
    right = np.flatnonzero(evaluation.clean.robust)
    assert sorted(attack.seen) == right.tolist()
    assert set(attack.calls) == {BATCH}, "one shape, nothing compiles twice"


@pytest.mark.every_backend
def test_broken_evaluation_goes_on(
    model: keras.Model, data: Any, tmp_path: Path
) -> None:
    unbroken = evaluate(model, data, attacks=[Clipped()], batch_size=BATCH)
    first = Clipped(breaks_after=1)
    options: dict[str, Any] = {
        "batch_size": BATCH,
        "folder": tmp_path,
        "save_images": True,
    }
    with pytest.raises(KeyboardInterrupt):
        evaluate(model, data, attacks=[first], **options)
    assert not (tmp_path / "evaluation.json").exists()
    second = Clipped()
    steps: list[Step] = []
    whole = evaluate(model, data, attacks=[second], watch=steps.append, **options)
    assert not set(first.seen) & set(second.seen), "no image is attacked twice"
    right = np.flatnonzero(whole.clean.robust)
    assert sorted(first.seen + second.seen) == right.tolist()
    assert without_seconds(whole) == without_seconds(unbroken)
    assert "continues in" in next(s.note for s in steps if s.attack == "clipped")
    images = np.load(tmp_path / "evaluation" / "images" / "clipped.npy")
    x, y = data
    wrong = np.setdiff1d(np.arange(IMAGES), right)
    np.testing.assert_array_equal(images[wrong], x[wrong])
    moved = np.clip(x + np.where(y, -0.4, 0.4)[:, None, None, None], 0, 1)
    np.testing.assert_allclose(images[right], moved[right], atol=1e-6)
    third = Clipped()
    evaluate(model, data, attacks=[third], **options)
    assert third.seen == []


def test_images_that_were_not_kept_are_made_again(
    model: keras.Model, data: Any, tmp_path: Path
) -> None:
    evaluate(model, data, attacks=[Clipped()], folder=tmp_path)
    assert not list((tmp_path / "evaluation").rglob("*.npy"))
    attack = Clipped()
    evaluate(model, data, attacks=[attack], folder=tmp_path, save_images=True)
    assert attack.seen
    again = Clipped()
    evaluate(model, data, attacks=[again], folder=tmp_path)
    assert again.seen == []


@pytest.mark.parametrize("what", ["attack", "seed", "model", "labels"])
def test_changed_setting_starts_again_and_says_so(
    model: keras.Model, data: Any, tmp_path: Path, what: str
) -> None:
    x, y = data
    evaluate(model, data, attacks=[Clipped()], folder=tmp_path, batch_size=BATCH)
    attack = Clipped(shift=0.3 if what == "attack" else 0.4)
    if what == "model":
        model = keras.models.clone_model(model)
    if what == "labels":
        y = 1 - y
    steps: list[Step] = []
    evaluate(
        model,
        (x, y),
        attacks=[attack],
        folder=tmp_path,
        batch_size=BATCH,
        seed=int(what == "seed"),
        watch=steps.append,
    )
    key = {"attack": "attack.shift: 0.4, now 0.3", "labels": "images"}.get(what, what)
    [note] = [s.note for s in steps if s.attack == "clipped" and s.note]
    assert "starts again" in note and key in note


def test_steps_tell_the_running_accuracy(model: keras.Model, data: Any) -> None:
    steps: list[Step] = []
    evaluation = evaluate(
        model, data, attacks=[Clipped()], batch_size=BATCH, watch=steps.append
    )
    clean = [step for step in steps if step.attack == "clean"]
    assert [step.done for step in clean] == [0, 8, 16, 20]
    assert clean[0].accuracy is None
    assert clean[-1].accuracy == pytest.approx(evaluation.clean_accuracy)
    last = steps[-1]
    assert (last.attack, last.number, last.attacks) == ("clipped", 2, 2)
    assert last.done == last.images == evaluation.clean.correct
    assert last.accuracy == pytest.approx(evaluation.robust_accuracy["clipped"])


@pytest.mark.parametrize(
    ("attack", "doing"),
    [
        (pgd_trades(epsilon=0.1), {""}),
        (AutoAttack(0.1, attacks={"a": fgsm(), "b": pgd_trades()}), {"a", "b"}),
    ],
    ids=["pgd", "sequence"],
)
def test_attacks_tell_within_a_batch_that_they_go_on(
    attack: Attack,
    doing: set[str],
    model: keras.Model,
    data: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(network_evaluator, "PULSE", 0.0)
    steps: list[Step] = []
    watched = evaluate(
        model, data, attacks={"it": attack}, batch_size=BATCH, watch=steps.append
    )
    within = [step for step in steps if step.doing is not None]
    assert {step.doing for step in within} == doing
    assert {step.attack for step in within} == {"it"}
    assert {step.done for step in within} == {
        step.done for step in steps if step.attack == "it" and step.done < step.images
    }
    monkeypatch.setattr(network_evaluator, "PULSE", 1e9)
    few: list[Step] = []
    evaluate(model, data, attacks={"it": attack}, batch_size=BATCH, watch=few.append)
    assert few == [step for step in steps if step.doing is None]
    unwatched = evaluate(model, data, attacks={"it": attack}, batch_size=BATCH)
    assert without_seconds(watched) == without_seconds(unwatched)


def test_stages_of_an_attack_survive_the_store(
    model: keras.Model, data: Any, tmp_path: Path
) -> None:
    parts = {
        "one": PGD(0.1, step_size=0.1, steps=1, start="clean"),
        "two": fgsm(epsilon=0.3),
    }
    attack = AutoAttack(0.3, attacks=parts)
    options: dict[str, Any] = {"folder": tmp_path, "batch_size": BATCH}
    found = [evaluate(model, data, attacks=[attack], **options) for _ in range(2)]
    x, y = data
    stages = {
        name: int(expected_robust(x, y, radius).sum())
        for name, radius in (("one", 0.1), ("two", 0.3))
    }
    for evaluation in found:
        assert evaluation.attacks["autoattack"].stages == stages
    assert f"autoattack after one {100 * stages['one'] / IMAGES:.2f}, two" in (
        found[1].to_markdown()
    )


def test_findings_about_a_model_are_reported(data: Any) -> None:
    model = linear()
    model.add(layers.Rescaling(0.0))
    evaluation = evaluate(model, data, attacks="fgsm")
    names = {finding.name for finding in evaluation.findings}
    assert {"zero-gradients", "identical-logits", "loss-did-not-grow"} <= names


def test_images_outside_the_ball_do_not_count(model: keras.Model, data: Any) -> None:
    evaluation = evaluate(model, data, attacks={"far": Counting(shift=0.9)})
    assert evaluation.robust_accuracy["far"] == evaluation.clean_accuracy
    [finding] = evaluation.findings
    assert finding.name == "outside-ball"
    assert f"far: {evaluation.clean.correct} images" in finding.message


def test_nothing_right(model: keras.Model, data: Any, tmp_path: Path) -> None:
    x, y = data
    wrong = ((x[:, 0, 0, 0] > 0.5) ^ 1).astype("int32")
    attack = Clipped()
    evaluation = evaluate(model, (x, wrong), attacks=[attack], folder=tmp_path)
    assert evaluation.clean_accuracy == 0
    assert evaluation.robust_accuracy == {"clipped": 0}
    assert attack.seen == []
    assert "clipped" in evaluation.to_markdown()
    assert Evaluation.load(tmp_path).to_dict() == evaluation.to_dict()


def test_one_image(model: keras.Model, data: Any) -> None:
    x, y = data
    evaluation = evaluate(model, (x[:1], y[:1]), attacks="fgsm", epsilon=1.0)
    assert evaluation.robust_accuracy == {"fgsm": 0}


def test_predictions_of_each_image(model: keras.Model, data: Any) -> None:
    x, y = data
    evaluation = evaluate(model, data, attacks=[Clipped()], batch_size=BATCH)
    clean = (x[:, 0, 0, 0] > 0.5).astype(int)
    assert evaluation.clean.predictions is not None
    assert evaluation.clean.predictions.tolist() == clean.tolist()
    attacked = evaluation.attacks["clipped"]
    assert attacked.predictions is not None
    right = evaluation.clean.robust
    moved = np.where(y == 1, x[:, 0, 0, 0] - 0.4, x[:, 0, 0, 0] + 0.4) > 0.5
    assert attacked.predictions.tolist() == np.where(right, moved, clean).tolist()
    assert (attacked.predictions == y).tolist() == attacked.robust.tolist()


def test_batches_of_version_0_1_go_on(
    model: keras.Model, data: Any, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"batch_size": BATCH, "folder": tmp_path}
    before = evaluate(model, data, attacks=[Clipped()], **options)
    new = ("predictions", "pictured", "pictures")
    for path in tmp_path.rglob("*.npz"):
        with np.load(path) as arrays:
            old = {name: arrays[name] for name in arrays if name not in new}
        np.savez(path, **old)
    attack = Clipped()
    found = evaluate(model, data, attacks=[attack], **options)
    assert attack.seen == []
    assert found.robust_accuracy == before.robust_accuracy
    assert found.clean.predictions is None
    assert found.attacks["clipped"].predictions is None


def test_pictures_are_kept_of_right_images(
    model: keras.Model, data: Any, tmp_path: Path
) -> None:
    evaluation = evaluate(
        model, data, attacks={"a b": Clipped()}, batch_size=BATCH, folder=tmp_path
    )
    pictures = read_results(tmp_path).pictures
    assert pictures is not None
    assert pictures.indices == tuple(range(IMAGES))
    x, y = data
    for index in pictures.indices:
        path = pictures.path("a b", index)
        assert (path is not None) == evaluation.clean.robust[index]
        if path:
            found = np.asarray(Image.open(path)) / 255
            moved = np.clip(x[index, ..., 0] + (-0.4 if y[index] else 0.4), 0, 1)
            np.testing.assert_allclose(found, moved, atol=0.5 / 255 + 1e-6)


def test_confidences_of_the_pictures(
    model: keras.Model, data: Any, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"batch_size": BATCH, "folder": tmp_path}
    assert not evaluate(model, data, attacks=[Clipped()]).clean.confidences
    evaluation = evaluate(model, data, attacks=[Clipped()], **options)
    pictures = read_results(tmp_path).pictures
    assert pictures is not None
    student = read_results(tmp_path).student
    for name, score in {"clean": student.clean, **student.attacks}.items():
        assert dict(score.confidences) == evaluation.columns[name].confidences
        paths = {index: pictures.path(name, index) for index in pictures.indices}
        saved = [index for index, path in paths.items() if path]
        assert list(score.confidences) == saved
        for index in saved:
            first = np.asarray(Image.open(paths[index]))[0, 0] / 255
            # The logits are -4 z + 2 and 4 z - 2 for the first pixel z.
            share = 1 / (1 + np.exp(-8 * first + 4))
            wanted = share if score.predictions[index] else 1 - share
            assert score.confidences[index] == pytest.approx(wanted, abs=1e-4)


def test_confidences_are_added_to_a_record_without_them(
    model: keras.Model, data: Any, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"batch_size": BATCH, "folder": tmp_path}
    before = evaluate(model, data, attacks=[Clipped()], **options)
    path = tmp_path / "evaluation.json"
    content = json.loads(path.read_text())
    del content["crc32"], content["networks"][0]["attacks"]["clipped"]["confidences"]
    path.write_text(json.dumps(content))
    assert not Evaluation.load(tmp_path).attacks["clipped"].confidences
    attack = Clipped()
    evaluate(model, data, attacks=[attack], **options)
    assert attack.seen == []
    found = Evaluation.load(tmp_path).attacks["clipped"].confidences
    assert found == before.attacks["clipped"].confidences


def test_networks_of_a_run_share_a_record(
    model: keras.Model, data: Any, tmp_path: Path
) -> None:
    student, teacher = Clipped(shift=0.3), Clipped(shift=0.2)
    networks = [
        Candidate(model, {"a": student, "b": Clipped()}, "net", "student", 2.0),
        Candidate(linear(), {"a": teacher}, "other", "nat_teacher"),
    ]
    told: list[tuple[str, str | None]] = []
    options: dict[str, Any] = {"strength": Strength(), "folder": tmp_path}
    evaluation = evaluate_networks(
        networks,
        ImageSet.of(data),
        tell=lambda network, headline: told.append((network.role, headline)),
        **options,
    )
    # PGD_trades was not run; "a" is the strongest that both were attacked by.
    assert told == [("student", "a"), ("nat_teacher", "a")]
    results = read_results(tmp_path)
    assert [each.role for each in results.networks] == ["nat_teacher", "student"]
    assert results.headline == evaluation.headline == "a"
    assert results.student.seconds == 2.0
    assert list(results.student.attacks) == ["a", "b"]
    assert results.networks[0].findings == (), "diagnostics are of the student"
    teachers = (tmp_path / "evaluation" / "batches" / "nat_teacher").glob("*")
    assert {path.name.partition("-")[0] for path in teachers} == {"clean", "a"}


def test_result_survives_json_and_tables(model: keras.Model, data: Any) -> None:
    evaluation = evaluate(model, data, attacks=["fgsm", "pgd_trades"], epsilon=0.2)
    content = json.loads(json.dumps(evaluation.to_dict(), allow_nan=False))
    [results] = parse(Path("evaluation.json"), content)
    assert Evaluation.of(results).to_markdown() == evaluation.to_markdown()


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"attacks": "fgms"}, "Did you mean fgsm"),
        ({"suite": "papr"}, "`suite` must be one of"),
        ({"epsilon": 8}, "8/255, not 8"),
        ({"batch_size": 0}, "batch_size"),
        ({"save_images": True}, "needs a folder"),
        ({"attacks": {"clean": fgsm()}}, "'clean' and 'worst case' are reserved"),
    ],
)
def test_bad_arguments(
    model: keras.Model, data: Any, options: dict[str, Any], why: str
) -> None:
    with pytest.raises(ValueError, match=why):
        evaluate(model, data, **options)


@pytest.mark.once("jax")
@pytest.mark.filterwarnings("ignore:Attacks need logits")
def test_the_model_is_not_changed_even_for_a_moment(
    data: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = keras.Input((4, 4, 1))
    dense = layers.Dense(2, activation="softmax")
    model = keras.Sequential([image, layers.Flatten(), dense])
    model(data[0])
    own, seen, assign = (
        [model, *model._flatten_layers()],
        set(),
        keras.Layer.__setattr__,
    )

    def watch(layer: Any, name: str, value: Any) -> None:
        if any(layer is each for each in own):
            seen.add(name)
        assign(layer, name, value)

    monkeypatch.setattr(keras.Layer, "__setattr__", watch)
    evaluate(model, data, attacks="fgsm")
    # Keras notes each call.
    assert seen == {"built", "_called"}


def test_bad_images(model: keras.Model, data: Any) -> None:
    x, y = data
    eight_bit = (255 * x).astype("uint8")
    for images, why in ((eight_bit, "Divide 8-bit"), (2 * x, r"must be in \[0, 1\]")):
        with pytest.raises(ValueError, match=why):
            evaluate(model, (images, y), attacks="fgsm")
    with pytest.raises(ValueError, match="one per image"):
        evaluate(model, (x, y[:-1]), attacks="fgsm")
    with pytest.raises(ValueError, match="the model's classes"):
        evaluate(model, (x, y + 1), attacks="fgsm")
    with pytest.raises(TypeError, match="Received: an object of type int"):
        evaluate(model, 3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="Received: an object of type int"):
        evaluate(model, data, attacks=[3])  # type: ignore[list-item]


def test_logits_that_are_not_finite_are_an_error(data: Any) -> None:
    model = keras.Sequential(
        [keras.Input((4, 4, 1)), layers.Flatten(), layers.Dense(2)]
    )
    model.layers[-1].set_weights([np.full((16, 2), np.nan), np.zeros(2)])
    with pytest.raises(ValueError, match="must be finite"):
        evaluate(model, data, attacks="fgsm")


def test_folder_that_is_a_file(model: keras.Model, data: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="Cannot create"):
        evaluate(model, data, attacks="fgsm", folder=tmp_path / "file")


class Sign(keras.Model):
    """A layer without `get_config`, so its configuration does not identify it."""

    def __init__(self, sign: Any) -> None:
        super().__init__()
        self.sign = sign
        self.flatten, self.head = layers.Flatten(), layers.Dense(2)

    def call(self, images: Any) -> Any:
        return self.sign() * self.head(self.flatten(images))


class Configured(layers.Layer):
    """The user's own layer, with `get_config`."""

    def __init__(self, sign: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.sign = sign

    def call(self, images: Any) -> Any:
        return self.sign * images

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "sign": self.sign}


def test_model_without_identity_is_not_resumed(
    model: keras.Model, data: Any, tmp_path: Path
) -> None:
    found = []
    for sign in (1, -1):
        other = Sign(lambda sign=sign: sign)
        other(data[0])
        other.set_weights(model.get_weights())
        found.append(evaluate(other, data, attacks="fgsm", folder=tmp_path))
    clean = evaluate(model, data, attacks="fgsm").clean_accuracy
    first, second = (each.clean_accuracy for each in found)
    assert (first, second) == (pytest.approx(clean), pytest.approx(1 - clean))
    for each in found:
        [told] = [f.message for f in each.findings if f.name == "not-resumed"]
        assert "get_config" in told


def test_model_with_configured_layers_is_resumed(
    model: keras.Model, data: Any, tmp_path: Path
) -> None:
    def made(sign: int) -> keras.Model:
        image, own = keras.Input((4, 4, 1), name="image"), Configured(sign, name="own")
        return keras.Sequential([image, own, model], name="whole")

    attack = Counting()
    evaluate(made(1), data, attacks={"counting": attack}, folder=tmp_path)
    calls = len(attack.calls)
    again = evaluate(made(1), data, attacks={"counting": attack}, folder=tmp_path)
    assert len(attack.calls) == calls
    assert not any(each.name == "not-resumed" for each in again.findings)
    other = evaluate(made(-1), data, attacks={"counting": attack}, folder=tmp_path)
    assert other.clean_accuracy != again.clean_accuracy


def test_changed_model_is_evaluated_as_it_is(data: Any) -> None:
    x, _ = data
    changing = keras.Sequential(
        [keras.Input((4, 4, 1)), layers.Flatten(), layers.Dense(4), layers.Dense(3)]
    )
    y = ops.convert_to_numpy(changing(x)).argmax(axis=1)
    assert evaluate(changing, (x, y), attacks="fgsm").clean_accuracy == 1
    changing.pop()
    changing.add(layers.Dense(3, "linear", kernel_initializer="zeros"))
    changing.layers[-1].bias.assign([0.0, 0.0, 1.0])
    found = evaluate(changing, (x, y), attacks="fgsm")
    assert found.clean_accuracy == np.mean(y == 2)


@pytest.mark.every_backend
@pytest.mark.parametrize("kind", ["float32", "uint8", "minus one to one"])
def test_model_of_another_range(model: keras.Model, data: Any, kind: str) -> None:
    """It is as good and as robust as the same model of images in [0, 1]."""
    x, y = data
    x = np.round(255 * x) / np.float32(255)
    symmetric = kind == "minus one to one"
    rescaling = layers.Rescaling(0.5, 0.5) if symmetric else layers.Rescaling(1 / 255)
    wrapped = keras.Sequential([keras.Input((4, 4, 1)), rescaling, model])
    own = 2 * x - 1 if symmetric else 255 * x
    own = np.round(own).astype("uint8") if kind == "uint8" else own
    settings = {"attacks": ["fgsm", "pgd_trades"], "epsilon": 0.1}
    wanted = evaluate(model, (x, y), **settings)
    found = evaluate(
        wrapped,
        (own, y),
        input_range=(-1, 1) if symmetric else (0, 255),
        **settings,
    )
    assert found.clean_accuracy == wanted.clean_accuracy
    assert found.robust_accuracy == wanted.robust_accuracy
    assert found.attacks["fgsm"].distance.linf == pytest.approx(0.1, abs=1e-3)
    assert not any(each.name == "input-scale" for each in found.findings)


def test_images_of_another_range_than_said(model: keras.Model, data: Any) -> None:
    x, y = data
    with pytest.raises(ValueError, match="scaled to.*already. Multiply"):
        evaluate(model, (x, y), input_range=(0, 255))
    with pytest.raises(ValueError, match=r"must be in the `input_range` \[0, 255\]"):
        evaluate(model, (x - 1, y), input_range=(0, 255))
    with pytest.raises(ValueError, match=r"`input_range` must be \(low, high\)"):
        evaluate(model, (x, y), input_range=(255, 0))


def test_wrong_range_smells(data: Any) -> None:
    x, y = data
    wrapped = keras.Sequential(
        [keras.Input((4, 4, 1)), layers.Rescaling(1 / 255), *linear().layers]
    )
    wrapped.layers[-1].bias.assign([1.0, 0.0])
    found = evaluate(wrapped, (x, y), attacks="fgsm")
    names = {each.name for each in found.findings}
    assert {"input-scale", "one-class", "clean-near-chance"} <= names


def test_epsilon_must_be_a_number(model: keras.Model, data: Any) -> None:
    with pytest.raises(ValueError, match=r"`epsilon` must be a number.*array"):
        evaluate(model, data, epsilon=np.array([0.1, 0.2]))


@pytest.mark.parametrize("kind", ["column", "one-hot"])
def test_labels_are_taken_as_fit_takes_them(
    model: keras.Model, data: Any, kind: str
) -> None:
    x, y = data
    shaped = y[:, None] if kind == "column" else np.eye(2, dtype="float32")[y]
    wanted = evaluate(model, data, attacks="fgsm", epsilon=0.1)
    found = evaluate(model, (x, shaped), attacks="fgsm", epsilon=0.1)
    assert found.robust_accuracy == wanted.robust_accuracy
    assert found.labels.tolist() == y.tolist()
    attack = fgsm(epsilon=0.1)
    np.testing.assert_array_equal(attack(model, x, shaped), attack(model, x, y))
    soft = 0.9 * np.eye(2, dtype="float32")[y] + 0.05
    with pytest.raises(ValueError, match="integer labels"):
        attack(model, x, soft)


def test_finished_evaluation_computes_nothing_again(
    model: keras.Model, data: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"attacks": "fgsm", "epsilon": 0.1, "folder": tmp_path}
    first = evaluate(model, data, **settings)

    def computed(*_: object) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr(network_evaluator, "of_model", computed)
    monkeypatch.setattr(NetworkEvaluator, "_crafted", computed)
    monkeypatch.setattr(NetworkEvaluator, "_classified", computed)
    second = evaluate(model, data, **settings)
    assert second.findings == first.findings
    assert second.robust_accuracy == first.robust_accuracy
    with pytest.raises(AssertionError, match="computed again"):
        evaluate(model, data, **{**settings, "attacks": "pgd_sat"})


def test_classes_are_called_by_their_names(tmp_path: Path) -> None:
    """In the record, its table and its findings; a class without a name by number."""
    images = np.random.default_rng(0).integers(0, 256, (IMAGES, 4, 4, 1), np.uint8)
    split = Split(images, np.arange(IMAGES) % 2, ("cat", "dog"))
    dogs = linear()
    dogs.set_weights([np.zeros((16, 2), "float32"), np.array([0, 1], "float32")])
    found = evaluate(dogs, split, attacks="fgsm", epsilon=0.1, folder=tmp_path)
    assert Evaluation.load(tmp_path).class_names == ("cat", "dog")
    [one] = [each for each in found.findings if each.name == "one-class"]
    assert one.message.startswith("Class dog is predicted")
    assert "| 0.0 (cat) |" in found.to_markdown()
