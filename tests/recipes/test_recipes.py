"""The shipped recipes are complete, have the paper's values, and run."""

from __future__ import annotations

import tomllib
from pathlib import Path

import keras
import pytest

from kmtard import fit, registry
from kmtard.recipe import load
from kmtard.registry.roles import ROLES
from kmtard.runs import Run, list_runs
from kmtard.runs.results import read_results
from kmtard.training.estimate import KNOWN, facts_of
from kmtard.training.trial import Trial, generated

pytestmark = pytest.mark.once("torch")

RECIPES = {
    path.stem: path for path in (Path(__file__).parents[2] / "recipes").glob("*.toml")
}
PAPER = [
    f"{data}{student}"
    for data in ("cifar10", "cifar100", "tiny_imagenet")
    for student in ("", "_mobilenet_v2")
]
MULTI_TEACHER = ("baseline", "baseline_ebb", "mtard", "b_mtard")
# A small network of every role, which takes images of any size. On so few images, the
# recipe's learning rate would make its outputs constant, and nothing learns from such a
# teacher.
STAND_INS = [
    "--set=optimizer.learning_rate=0.001",
    *(
        f"--set={role}.{setting}"
        for role in ROLES
        for setting in ("network=small_cnn", "options={ width = 4 }")
    ),
]

every_recipe = pytest.mark.parametrize("name", sorted(RECIPES))
every_paper = pytest.mark.parametrize("name", PAPER)


def settings(folder: Path, *others: str) -> list[str]:
    """The backend of the tests, a folder for runs and teachers, further overrides."""
    jax = keras.backend.backend() == "jax"
    overrides = (
        f"runtime.backend={keras.backend.backend()}",
        f"runtime.jit={'auto' if jax else 'false'}",
        f"runtime.runs_dir={folder / 'runs'}",
        f"runtime.cache_dir={folder / 'teachers'}",
        *others,
    )
    return [f"--set={override}" for override in overrides]


def rows_of(run: Run) -> list[str]:
    """The roles in a run's table, once it has finished."""
    assert run.state() == "finished"
    return [network.role for network in read_results(run.path).networks]


def test_the_recipes_are_there():
    assert {*PAPER, "digits", "fashion_mnist", "fashion_mnist_gpu"} <= RECIPES.keys()


def test_the_gpu_recipe_needs_no_tensorflow_and_computes_in_half_precision():
    recipe = load(RECIPES["fashion_mnist_gpu"])
    assert recipe.runtime.backend == "jax"
    assert recipe.runtime.precision == "mixed_bfloat16"
    assert recipe.runtime.jit == "auto"
    assert recipe.data.directory is not None, "where the four idx files are"
    networks = [getattr(recipe, role).network for role in ROLES]
    assert dict(zip(ROLES, networks, strict=True)) == {
        "student": "resnet18",
        "nat_teacher": "resnet56",
        "adv_teacher": "resnet18",
    }


@every_recipe
def test_every_method_has_its_table(name):
    document = tomllib.loads(RECIPES[name].read_text())
    assert document["methods"].keys() == registry.METHODS.keys()
    assert load(RECIPES[name]).method.name == "b_mtard"


@every_recipe
def test_header_says_what_to_expect(name):
    text = RECIPES[name].read_text()
    header = text[: text.index("\n[data]")]
    assert f"python -m kmtard.fit recipes/{name}.toml" in header
    for word in ("Expected:", "Hardware:", "Time:"):
        assert f"\n# {word}" in header


@pytest.mark.parametrize("method", registry.METHODS)
@every_recipe
def test_every_method_can_be_built(name, method):
    recipe = load(RECIPES[name], method=method)
    stand_in = {"network": "small_cnn", "options": {"width": 1}}
    parties = {role: getattr(recipe, role) for role in ROLES}
    changes = {role: each.model_copy(update=stand_in) for role, each in parties.items()}
    data = recipe.data.model_copy(update={"batch_size": 1})
    recipe = recipe.model_copy(update={**changes, "data": data})
    facts = facts_of(recipe)
    trial = Trial(recipe, "student", generated(recipe, facts.shape, facts.classes))
    assert trial.model.compiled
    assert trial.network.output_shape == (None, facts.classes)


@every_paper
def test_networks_are_those_of_the_paper(name):
    recipe = load(RECIPES[name])
    mobile = name.endswith("_mobilenet_v2")
    teachers, student = {
        "cifar10": (("resnet56", "wide_resnet_34_10"), "resnet18"),
        "cifar100": (("wide_resnet_22_6", "wide_resnet_70_16"), "resnet18"),
        "tiny_imagenet": (("preact_resnet34",) * 2, "preact_resnet18"),
    }[recipe.data.name]
    assert recipe.student.network == ("mobilenet_v2" if mobile else student)
    assert (recipe.nat_teacher.network, recipe.adv_teacher.network) == teachers
    tiny = recipe.data.name == "tiny_imagenet"
    assert recipe.data.batch_size == (32 if tiny else 128)
    assert (recipe.data.pad, recipe.data.flip) == (4, True)
    attack = (recipe.attack.epsilon, recipe.attack.step_size, recipe.attack.steps)
    assert attack == (8 / 255, 2 / 255, 10)
    assert recipe.evaluation.suite == "paper"


# Learning rate, L2, epochs, milestones.
CIFAR = {
    "natural": (0.1, 2e-4, 100, (75, 90)),
    "sat": (0.1, 2e-4, 205, (102, 153)),
    "trades": (0.1, 2e-4, 100, (74, 89, 99)),
    "score": (0.05, 5e-4, 110, (100, 105)),
    **dict.fromkeys(("ard", "fair_ard", "iad"), (0.1, 2e-4, 200, (100, 150))),
    **dict.fromkeys(
        ("rslad", "absld", "lmtn", *MULTI_TEACHER), (0.1, 2e-4, 300, (215, 260, 285))
    ),
    "mart": (0.01, 3.5e-3, 120, (74, 89, 99)),
    "adaad": (0.1, 5e-4, 200, (100, 150)),
}
TINY = dict.fromkeys(CIFAR, (0.1, 2e-4, 100, (75, 90))) | {
    "sat": (0.01, 2e-4, 100, (75, 90)),
    "score": (0.01, 5e-4, 110, (100, 105)),
    "mart": (0.01, 3.5e-3, 100, (75, 90)),
    "adaad": (0.1, 5e-4, 100, (75, 90)),
}


@every_paper
def test_schedules_are_those_of_the_authors(name):
    tiny = name.startswith("tiny_imagenet")
    trainings = {
        method: load(RECIPES[name], method=method).training("student")
        for method in registry.METHODS
    }
    found = {
        method: (
            training.optimizer.learning_rate,
            training.optimizer.weight_decay,
            training.schedule.epochs,
            training.schedule.milestones,
        )
        for method, training in trainings.items()
    }
    assert found == (TINY if tiny else CIFAR)
    assert [m for m, each in trainings.items() if each.optimizer.nesterov] == [
        "fair_ard"
    ]
    every = {each.schedule.evaluate_every for each in trainings.values()}
    assert every == {10 if tiny else 20}
    start = 2.0 if name == "cifar10_mobilenet_v2" else 1.0
    for method in MULTI_TEACHER:
        assert trainings[method].method_options["temperature"] == start
    options = trainings["ard"].method_options
    soft = (
        (30.0, 1.0) if name.startswith("cifar10_") or name == "cifar10" else (5, 0.95)
    )
    assert (options["temperature"], options["alpha"]) == soft
    assert options["fix_double_drop"] == tiny


@every_paper
def test_selection_on_held_out_images_is_one_word_away(name, tmp_path):
    text = RECIPES[name].read_text()
    assert load(RECIPES[name]).data.held_out == 0, "trained on all images, as the paper"
    held_out = tmp_path / "held_out.toml"
    held_out.write_text(text.replace('selection = "test"', 'selection = "held_out"'))
    recipe = load(held_out)
    assert recipe.evaluation.selection == "held_out"
    assert recipe.data.held_out == 0.1


@pytest.mark.parametrize("name", KNOWN)
def test_shapes_are_known_without_the_data(name, tmp_path):
    tfds = pytest.importorskip("tensorflow_datasets")
    pytest.importorskip("kmtard.data.tiny_imagenet_builder")
    builder = tfds.builder_cls(name)
    features = builder(data_dir=tmp_path).info.features
    assert KNOWN[name].shape == features["image"].shape
    assert KNOWN[name].classes == features["label"].num_classes


@pytest.mark.usefixtures("generated_data")
def test_smoke_trains_the_teacher_whose_weights_are_missing(tmp_path, capsys):
    overrides = ("data.limit=32", "attack.steps=1", "evaluation.steps=1")
    words = settings(tmp_path, *overrides, "evaluation.limit=16")
    path = str(RECIPES["cifar100"])
    arguments = [path, "--method", "rslad", "--smoke", *STAND_INS, *words]
    assert fit.main(arguments) == 0
    output = capsys.readouterr().out
    assert output.startswith(
        "teachers/cifar100_linf_wrn70-16_without.pt is missing: the smoke test trains "
        "the robust teacher instead"
    )
    [run] = list_runs(tmp_path / "runs")
    assert rows_of(run) == ["adv_teacher", "student"]
    assert load(run.recipe_path).adv_teacher.train


@pytest.fixture(scope="module")
def teachers(tmp_path_factory):
    """One folder for the teachers of all recipes: each is trained once."""
    return tmp_path_factory.mktemp("smoke")


def smoke(name: str, method: str, folder: Path, teachers: Path, *others: str) -> None:
    """Run a recipe's smoke test, as the command line does, on very few images."""
    few = ("data.limit=8", "data.batch_size=4", "attack.steps=1")
    few += ("evaluation.steps=1", "evaluation.limit=4")
    words = settings(folder, *few, f"runtime.cache_dir={teachers}")
    arguments = [str(RECIPES[name]), "--method", method, "--smoke", *others, *words]
    assert fit.main(arguments) == 0
    [run] = list_runs(folder / "runs")
    assert rows_of(run)[-1] == "student"
    keras.utils.clear_session()


@pytest.mark.slow
@pytest.mark.usefixtures("generated_data")
@pytest.mark.parametrize("method", registry.METHODS)
@every_recipe
def test_smoke(name, method, teachers, tmp_path):
    smoke(name, method, tmp_path, teachers, *STAND_INS)


@pytest.mark.slow
@pytest.mark.usefixtures("generated_data")
@every_recipe
def test_smoke_with_the_networks_of_the_recipe(name, teachers, tmp_path):
    smoke(name, "b_mtard", tmp_path, teachers)


@pytest.mark.slow
def test_digits(tmp_path):
    folders = [
        f"--set=runtime.{key}={tmp_path / key}" for key in ("runs_dir", "cache_dir")
    ]
    backend = f"--set=runtime.backend={keras.backend.backend()}"
    assert fit.main([str(RECIPES["digits"]), *folders, backend]) == 0
    (evaluation,) = (tmp_path / "runs_dir").glob("*/evaluation.json")
    results = read_results(evaluation)
    assert results.headline == "pgd_trades"
    found = {network.role: network for network in results.networks}
    assert found["nat_teacher"].robust.accuracy < 0.4
    assert found["adv_teacher"].robust.accuracy > 0.75
    assert found["student"].w_robust - found["nat_teacher"].w_robust > 0.15
