"""The keys of a recipe: one model per section, with a description of each key."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from itertools import pairwise
from typing import Annotated, Any, Literal

import tomlkit
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    WrapValidator,
    create_model,
)
from pydantic_core import PydanticCustomError

from kmtard import registry
from kmtard.recipe.options import FRACTION
from kmtard.registry import ranges
from kmtard.registry.networks import is_file
from kmtard.registry.roles import Role

Options = dict[str, Any]


def _known(table: str) -> Callable[[str], str]:
    def check(name: str) -> str:
        try:
            registry.check(table, name)
        except registry.RegistryError as error:
            reason = f"; {error.reason}" if error.reason else ""
            raise PydanticCustomError(
                "unknown_name",
                "{message}",
                {
                    "message": f"expected {error.expected}{reason}",
                    "allowed": error.allowed,
                    "nearest": error.nearest,
                },
            ) from error
        return registry.canonical(table, name)

    return check


def _increasing(milestones: tuple[int, ...]) -> tuple[int, ...]:
    if any(later <= earlier for earlier, later in pairwise(milestones)):
        raise PydanticCustomError("increasing", "expected increasing epochs")
    return milestones


def _network(name: str) -> str:
    checked = _known("networks")(name)
    return _path(checked) if is_file(checked) else checked


MethodName = Annotated[str, AfterValidator(_known("methods"))]
AttackName = Annotated[str, AfterValidator(_known("attacks"))]
NetworkName = Annotated[str, AfterValidator(_network)]
DataSetName = Annotated[str, AfterValidator(_known("datasets"))]


def _path(text: str) -> str:
    if "\0" in text:
        raise PydanticCustomError("null", "expected a path without a null character")
    return os.path.expanduser(text)


FilePath = Annotated[str, AfterValidator(_path)]
"""A path in which `~` means the home folder."""


def _devices(value: Any, check: Callable[[Any], Any]) -> Any:
    # One message in place of one for each member of the union.
    try:
        return check(value)
    except ValidationError as error:
        message = f"expected {ranges.words(ranges.Devices)}"
        raise PydanticCustomError("devices", "{message}", {"message": message}) from (
            error
        )


Devices = Annotated[ranges.Devices, WrapValidator(_devices)]


def _address(text: str) -> str:
    host, colon, port = text.rpartition(":")
    if not (host and colon and port.isascii() and port.isdigit()):
        raise PydanticCustomError("address", "expected host:port, such as node1:8476")
    return text


Address = Annotated[str, AfterValidator(_address)]

# Types of `ranges`, which here take fractions in quotes too.
Epsilon = Annotated[ranges.Epsilon, FRACTION]
StepSize = Annotated[ranges.StepSize, FRACTION]
Positive = Annotated[ranges.Positive, FRACTION]
Weight = Annotated[ranges.Weight, FRACTION]
PartialShare = Annotated[ranges.PartialShare, FRACTION]
Percentage = Annotated[ranges.Percentage, FRACTION]
Norm = Literal["linf", "l2"]
Start = Literal["clean", "gaussian", "gaussian_clipped", "uniform", "uniform_clipped"]
Milestones = Annotated[
    tuple[ranges.Epochs, ...], Field(strict=False), AfterValidator(_increasing)
]


class Section(BaseModel):
    """A table of a recipe, with fixed keys and strict types. It cannot be changed."""

    # Built when a recipe is validated: `--help` needs none of this.
    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        defer_build=True,
    )


class Data(Section):
    """The data set and how training reads it."""

    name: DataSetName = Field(description="Data set.")
    directory: FilePath | None = Field(
        None,
        description="Folder that holds the data set's files, or gets them when they "
        "are prepared; for npz also the file itself, and for image_folder also a CSV "
        "file.",
    )
    options: Options | None = Field(None, description="Options of the data set.")
    batch_size: ranges.BatchSize = Field(description="Images per training step.")
    pad: ranges.Padding = Field(
        0, description="Pixels of zeros on each side before a random crop; 0: no crop."
    )
    flip: bool = Field(
        False, description="Whether to mirror each image with probability 0.5."
    )
    limit: ranges.Images | None = Field(
        None, description="Number of training images to use; all if left out."
    )
    held_out: PartialShare = Field(
        0.1,
        description="Share of the training images kept to select the best epoch; 0 if "
        "the test images select it. A folder of images with its own validation "
        "images uses these.",
    )
    class_weights: Literal["balanced"] | None = Field(
        None,
        description="balanced: weigh each training image so that all classes count "
        "equally; all images count equally if left out.",
    )


class Student(Section):
    """The network that is trained and saved."""

    network: NetworkName = Field(
        description="Network: a registered name, a .keras file with its weights, "
        "keras.applications:NAME, or module:function."
    )
    options: Options = Field({}, description="Options of the network.")
    weights: FilePath | None = Field(
        None, description="File with the weights to start from; random if left out."
    )
    freeze: Annotated[tuple[str, ...], Field(strict=False)] | None = Field(
        None,
        description="Names of layers whose weights do not change in training; * stands "
        "for any text.",
    )


class Attack(Section):
    """The attack that crafts the training examples."""

    epsilon: Epsilon = Field(description="Radius of the ball; images are [0, 1].")
    norm: Norm = Field("linf", description="Norm that the ball is measured in.")
    step_size: StepSize = Field(description="Length of a step; images are [0, 1].")
    steps: ranges.Steps = Field(description="Steps per attack.")
    start: Start | None = Field(
        None, description="Where it starts; the method's default if left out."
    )


class Optimizer(Section):
    """SGD with an L2 term added to the gradient."""

    learning_rate: Positive = Field(description="Learning rate at the start.")
    momentum: PartialShare = Field(0.9, description="Momentum.")
    weight_decay: Weight = Field(2e-4, description="Factor of the L2 term.")
    nesterov: bool = Field(False, description="Whether to use Nesterov momentum.")


class Schedule(Section):
    """Epochs, learning-rate milestones and evaluations."""

    epochs: ranges.Epochs = Field(description="Epochs of training.")
    milestones: Milestones = Field(
        (),
        description="Epochs, counted from 1, after which the learning rate is "
        "multiplied by factor.",
    )
    factor: Positive = Field(
        0.1, description="Number that the learning rate is multiplied by."
    )
    evaluate_every: ranges.Epochs = Field(
        1,
        description="Number of epochs between evaluations, before the first milestone. "
        "Epoch 1 and the last epoch are always evaluated.",
    )
    evaluate_every_late: ranges.Epochs = Field(
        1,
        description="Number of epochs between evaluations from the first milestone on, "
        "which is evaluated.",
    )


class Evaluation(Section):
    """How networks are evaluated and how the best epoch is chosen."""

    attacks: Annotated[tuple[AttackName, ...], Field(strict=False)] = Field(
        ("fgsm", "pgd_trades"), description="Attacks of the final evaluation."
    )
    suite: Literal["paper", "standard", "quick", "blackbox", "adaptive"] | None = Field(
        None,
        description="Named set of attacks to run on the student, in addition to those "
        "above.",
    )
    epsilon: Epsilon | None = Field(
        None, description="Radius of the ball; as in [attack] if left out."
    )
    norm: Norm | None = Field(
        None, description="Norm of the ball; as in [attack] if left out."
    )
    step_size: StepSize | None = Field(
        None,
        description="Length of a PGD step; the papers' value, scaled with epsilon, if "
        "left out.",
    )
    steps: ranges.Steps = Field(20, description="Steps of PGD.")
    headline: AttackName = Field(
        "pgd_trades",
        description="Attack that W-Robust accuracy is computed against; the strongest "
        "attack of the evaluation if this one is not run.",
    )
    selection: Literal["test", "held_out"] = Field(
        "held_out", description="Images on which the best epoch is chosen."
    )
    limit: ranges.Images | None = Field(
        None, description="Number of images to evaluate on; all if left out."
    )


class Runtime(Section):
    """Where and how the run is executed."""

    backend: Literal["jax", "tensorflow", "torch"] = Field(
        "tensorflow", description="Backend of Keras."
    )
    seed: ranges.Seed = Field(
        0, description="Seed for weights, data order and attacks."
    )
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = Field(
        "float32", description="Dtype policy of Keras."
    )
    devices: Devices = Field(
        1,
        description="Devices that share each batch, of all processes together. More "
        "than 1 needs the backend jax.",
    )
    processes: ranges.Processes = Field(
        1,
        description="Processes that train together, for example one per host. Each is "
        "started with the same command.",
    )
    coordinator: Address | None = Field(
        None,
        description="host:port of the first process; from the environment or SLURM if "
        "left out.",
    )
    threads: ranges.Cores | None = Field(
        None,
        description="Number of threads that compute on a CPU; one per core if left "
        "out. Fewer can be faster, for example if several runs share a CPU.",
    )
    jit: Literal["auto", True, False] = Field(
        "auto", description="Whether XLA compiles the step; auto: Keras decides."
    )
    on_non_finite: Literal["stop", "continue"] = Field(
        "stop",
        description="Whether a run stops or continues after an epoch with NaN or inf "
        "in the loss or the weights. Such weights are never saved.",
    )
    runs_dir: FilePath = Field("runs", description="Folder for the run folders.")
    cache_dir: FilePath = Field(
        "runs/teachers", description="Folder for trained teachers."
    )


def _flat(table: Options, prefix: str = "", *, of_lists: bool = False) -> Options:
    """Write nested tables as dotted keys, such as `attack.epsilon`.

    Args:
        table: its own keys may be dotted already, in quotes.
        prefix: the key of the table.
        of_lists: whether each value must be a list of values.
    """
    flat: Options = {}
    for key, value in table.items():
        name = f"{prefix}.{tomlkit.key(key).as_string()}" if prefix else key
        if isinstance(value, dict) and value:
            flat |= _flat(value, name, of_lists=of_lists)
        elif of_lists and not (isinstance(value, list) and value):
            message = f"expected a list of values for {name}, such as [1, 2]"
            raise PydanticCustomError("axis", "{message}", {"message": message})
        else:
            flat[name] = value
    return flat


def _axes(table: Options) -> Options:
    return _flat(table, of_lists=True)


def _cells(tables: dict[str, Options]) -> dict[str, Options]:
    return {name: _flat(table) for name, table in tables.items()}


def _exclude(tables: tuple[Options, ...]) -> tuple[Options, ...]:
    return tuple(map(_flat, tables))


METHOD_SETS = ("all", "paper")
"""Words that mean several methods in a study."""


def _known_or_all(name: str) -> str:
    return name if name in METHOD_SETS else _known("methods")(name)


def _one_word(text: str) -> str:
    # It becomes a line of a shell script, which a newline would end.
    if not re.fullmatch(r"[\w.,:&|*\[\]()+-]+", text, re.ASCII):
        raise PydanticCustomError("word", "expected one word without blanks")
    return text


SlurmWord = Annotated[str, AfterValidator(_one_word)]


class Slurm(Section):
    """The SLURM resources of each run of a study."""

    partition: SlurmWord | None = Field(
        None, description="Partition; the cluster's own choice if left out."
    )
    hours: Positive = Field(
        24.0,
        description="Time limit in hours. A run that reaches it continues in another "
        "job.",
    )
    nodes: ranges.Processes = Field(
        1,
        description="Number of nodes, which share the processes of a run "
        "(runtime.processes) equally.",
    )
    gpus: ranges.Gpus = Field(1, description="Number of GPUs per node.")
    cpus: ranges.Cores = Field(4, description="Number of CPU cores per process.")
    memory: Positive | None = Field(
        None, description="Memory in GB per node; the cluster's own choice if left out."
    )
    account: SlurmWord | None = Field(None, description="Account that is charged.")
    qos: SlurmWord | None = Field(None, description="Quality of service.")
    constraint: SlurmWord | None = Field(
        None, description='Features of the nodes, such as "a100".'
    )
    grace: ranges.Seconds = Field(
        90,
        description="Seconds before the time limit when a run is asked to finish its "
        "batch and save.",
    )
    max_timeouts: ranges.Repeats = Field(
        100, description="How often a run may reach the time limit and continue."
    )


class Study(Section):
    """A grid of runs: each method with each setting and each seed."""

    methods: Annotated[
        tuple[Annotated[str, AfterValidator(_known_or_all)], ...], Field(strict=False)
    ] = Field(
        (),
        description='Methods; "all" means every method with a table in [methods], '
        '"paper" means those of the paper\'s tables. If empty, the method of [method].',
    )
    seeds: Annotated[tuple[ranges.Seed, ...], Field(strict=False)] = Field(
        (), description="Seeds. If empty, runtime.seed."
    )
    axes: Annotated[Options, AfterValidator(_axes)] = Field(
        {}, description="Key of the recipe -> list of its values; all are combined."
    )
    cells: Annotated[dict[str, Options], AfterValidator(_cells)] = Field(
        {}, description="Name -> keys with their values: settings besides the axes."
    )
    exclude: Annotated[
        tuple[Options, ...], Field(strict=False), AfterValidator(_exclude)
    ] = Field(
        (), description="Entries of keys and values; matching cells are left out."
    )
    slurm: Slurm = Field(
        default_factory=Slurm, description="SLURM resources of each run."
    )


class Method(BaseModel):
    """A method and its options, which are in the same table as its name."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True, defer_build=True)

    name: MethodName = Field(description="Method.")

    @property
    def options(self) -> Options:
        """The keys that are options of the method."""
        return self.model_extra or {}


class Adjustments(BaseModel):
    """A method's options, and the keys in which its training differs."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True, defer_build=True)

    attack: Options = Field({}, description="Keys that differ from [attack].")
    optimizer: Options = Field({}, description="Keys that differ from [optimizer].")
    schedule: Options = Field({}, description="Keys that differ from [schedule].")

    @property
    def options(self) -> Options:
        """The keys that are options of the method."""
        return self.model_extra or {}


class TeacherMethod(Adjustments):
    """How a teacher is trained."""

    name: MethodName = Field(description="Method.")


class Teacher(Student):
    """A network that teaches: read from a file, or trained first."""

    weights: FilePath | None = Field(None, description="File with trained weights.")
    source: str | None = Field(
        None, description="Where to get that file; shown if the file is missing."
    )
    expected_accuracy: Percentage | None = Field(
        None,
        description="Clean accuracy in % that the weights should have; if it is more "
        "than 5 points lower on training images, the run stops before training.",
    )
    train: bool = Field(
        False, description="Whether to train it, unless it is in the cache."
    )
    method: TeacherMethod | None = Field(None, description="How it is trained.")


class Training(Section):
    """The settings of one training, with the method's changes already applied."""

    network: str = Field(description="Network.")
    network_options: Options = Field(description="Options of the network.")
    freeze: tuple[str, ...] | None = Field(None, description="Frozen layers.")
    method: str = Field(description="Method.")
    method_options: Options = Field(description="Options of the method.")
    attack: Attack = Field(description="Attack that crafts the training examples.")
    optimizer: Optimizer = Field(description="How the network is optimized.")
    schedule: Schedule = Field(description="Epochs and milestones.")


ADJUSTABLE: dict[str, type[Section]] = {
    "attack": Attack,
    "optimizer": Optimizer,
    "schedule": Schedule,
}
"""The sections whose keys each method may change."""


def _changes(section: type[Section]) -> type[Section]:
    """Return a copy of a section model in which every key is optional."""
    keys: dict[str, Any] = {}
    for key, info in section.model_fields.items():
        about = Field(description=info.description)
        keys[key] = (Annotated[info.annotation, about, *info.metadata], None)
    return create_model(f"{section.__name__}Changes", __base__=Section, **keys)


CHANGES = {key: _changes(section) for key, section in ADJUSTABLE.items()}


class Recipe(Section):
    """A whole recipe, resolved by `kmtard.recipe.load`."""

    data: Data = Field(
        description="The images of training and test, and how they are prepared."
    )
    student: Student = Field(description="The network to train.")
    nat_teacher: Teacher | None = Field(
        None,
        description="The teacher for clean images: its network, and its weights or "
        "how it is trained.",
    )
    adv_teacher: Teacher | None = Field(
        None,
        description="The teacher for adversarial images: its network, and its weights "
        "or how it is trained.",
    )
    method: Method = Field(
        description="How the student learns: the method and its options."
    )
    methods: dict[MethodName, Adjustments] = Field(
        {}, description="Keys that differ for a method; empty once resolved."
    )
    attack: Attack = Field(
        description="The attack that crafts the training examples: its radius, its "
        "steps and where it starts."
    )
    optimizer: Optimizer = Field(
        description="How weights are updated: learning rate, momentum and weight decay."
    )
    schedule: Schedule = Field(
        description="How long training lasts, and when the learning rate falls."
    )
    evaluation: Evaluation = Field(
        default_factory=Evaluation,
        description="Which attacks test the networks, and how the best epoch is "
        "chosen.",
    )
    runtime: Runtime = Field(
        default_factory=Runtime,
        description="Where and how the run is executed: backend, seed, precision and "
        "folders.",
    )
    study: Study = Field(
        default_factory=Study,
        description="Many runs of this recipe; no part of one run.",
    )

    def training(self, role: Role) -> Training:
        """Return the settings of one network's training.

        Args:
            role: `student`, `nat_teacher` or `adv_teacher`.

        Raises:
            ValueError: the recipe has no such teacher, or does not train it.
        """
        network = self.student if role == "student" else getattr(self, role)
        method = self.method if role == "student" else getattr(network, "method", None)
        if method is None:
            raise ValueError(
                f"Expected a teacher with a method table. Received: {role!r}, "
                f"which this recipe does not train. See [{role}]."
            )
        own = method if isinstance(method, TeacherMethod) else Adjustments()
        return Training(
            network=network.network,
            network_options=network.options,
            freeze=network.freeze,
            method=method.name,
            method_options=method.options,
            attack=self.attack.model_copy(update=own.attack),
            optimizer=self.optimizer.model_copy(update=own.optimizer),
            schedule=self.schedule.model_copy(update=own.schedule),
        )

    def to_toml(self) -> str:
        """Return the recipe as TOML, without `[study]`, empty values and tables."""
        return tomlkit.dumps(_filled(self.model_dump(exclude={"study"})))


def _filled(table: Options) -> Options:
    filled = {
        key: _filled(value) if isinstance(value, dict) else value
        for key, value in table.items()
    }
    return {key: value for key, value in filled.items() if value not in (None, {})}
