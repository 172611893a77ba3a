"""The tests mirror the source, with a reason for each exception."""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path

import pytest

pytestmark = pytest.mark.once("torch")

ROOT = Path(__file__).parents[1]

# Modules -> (where they are tested, why not in a module of their name).
ELSEWHERE: dict[str, tuple[str, str]] = {
    "kmtard/[!_]*.py": (
        "kmtard/test_import.py",
        "the modules in the root that have no test run a command, three lines each",
    ),
    "kmtard/attacks/*": (
        "kmtard/attacks/test_properties.py",
        "parts of several attacks: held by the table of attacks and properties",
    ),
    "kmtard/backend/*": (
        "kmtard/backend/test_device.py",
        "every test runs on each of the three; this one has what only they know",
    ),
    "kmtard/benchmarks/*": (
        "kmtard/commands/test_benchmark.py",
        "what is timed is run through the command",
    ),
    "kmtard/benchmarks/against/*": (
        "kmtard/benchmarks/test_against.py",
        "the sides and their table are parts of one comparison",
    ),
    "kmtard/benchmarks/device_report/*": (
        "kmtard/benchmarks/device_report/test_miniature.py",
        "the parts are run in miniature, through the command",
    ),
    "kmtard/benchmarks/attacks/*": (
        "kmtard/benchmarks/test_attacks.py",
        "the sides and their table are parts of one comparison",
    ),
    "kmtard/benchmarks/rivals/*": (
        "kmtard/benchmarks/test_rivals.py",
        "network and step are compared with ours as a whole",
    ),
    "kmtard/report/sections/cells.py": (
        "kmtard/report/sections/test_accuracy.py",
        "parts of the tables of the sections, which show them",
    ),
    "kmtard/callbacks/*": (
        "kmtard/methods/test_multi_teacher.py",
        "callbacks do something only with the method that they drive",
    ),
    "kmtard/data/augmentation.py": (
        "kmtard/data/test_pipeline.py",
        "compared with the stream's golden file",
    ),
    "kmtard/data/errors.py": ("kmtard/data/test_prepared.py", "one exception"),
    "kmtard/data/image_*.py": (
        "kmtard/data/test_image_folder.py",
        "files and lists of images are read through the data set",
    ),
    "kmtard/data/npz.py": (
        "kmtard/data/test_own_data.py",
        "the two formats of the user's own data are held to the same promises",
    ),
    "kmtard/data/tiny_imagenet_builder.py": (
        "kmtard/data/test_tiny_imagenet.py",
        "the builder is loaded where TensorFlow Datasets prepares the set",
    ),
    "kmtard/evaluation/*": (
        "kmtard/evaluation/test_evaluator.py",
        "steps of `evaluate`, which has no other way in",
    ),
    "kmtard/evaluation/corruptions/*": (
        "kmtard/evaluation/corruptions/test_transforms.py",
        "constants and parts of the corruptions",
    ),
    "kmtard/evaluation/diagnostics/*": (
        "kmtard/evaluation/test_evaluator.py",
        "an evaluation chooses its diagnostics",
    ),
    "kmtard/methods/*": (
        "kmtard/methods/test_golden_steps.py",
        "every method is held to the authors' numbers in tables over the registry",
    ),
    "kmtard/networks/*": (
        "kmtard/networks/test_networks.py",
        "all networks are held to the same table, against their PyTorch classes",
    ),
    "kmtard/recipe/*": (
        "kmtard/recipe/test_load.py",
        "steps of `load`, whose messages are tested as users see them",
    ),
    "kmtard/registry/*": (
        "kmtard/registry/test_registry.py",
        "read through the tables",
    ),
    "kmtard/runs/phase.py": (
        "kmtard/runs/test_history.py",
        "a phase is a part of a history",
    ),
    "kmtard/runs/records.py": (
        "kmtard/runs/test_results.py",
        "shown by what is read from the files",
    ),
    "kmtard/runs/queue/*": (
        "kmtard/runs/queue/test_queue.py",
        "entries and their file are tested through the queue and its runner",
    ),
    "kmtard/study/*": (
        "kmtard/commands/test_study.py",
        "the study and its places are run as a user runs them",
    ),
    "kmtard/training/*": (
        "kmtard/commands/test_fit.py",
        "a training is run as a user runs it",
    ),
    "kmtard/training/callbacks/data_epoch.py": (
        "kmtard/training/test_resume.py",
        "shown by a resume, which needs the epoch's images",
    ),
    "launcher/[!_]*.py": ("launcher/test_app.py", "shown by the app"),
    "launcher/recipes/fields.py": (
        "launcher/recipes/test_form.py",
        "a field is a part of a form",
    ),
    "launcher/screens/*": (
        "launcher/screens/test_dialogs.py",
        "dialogs and mixins are driven on the screens that open them",
    ),
    "launcher/widgets/*": (
        "launcher/screens/test_live.py",
        "widgets are driven by keys and mouse on their screens",
    ),
}


def sources() -> list[Path]:
    paths = [p for room in ("kmtard", "launcher") for p in (ROOT / room).rglob("*.py")]
    return sorted(path.relative_to(ROOT) for path in paths)


def has_own_test(source: Path) -> bool:
    return (ROOT / "tests" / source.parent / f"test_{source.name}").is_file()


def places(source: Path) -> list[str]:
    """Patterns for a module, those of its own folder alone."""
    return [
        pattern
        for pattern in ELSEWHERE
        if Path(pattern).parent == source.parent and fnmatch(str(source), pattern)
    ]


def test_every_module_has_a_test_of_its_name_or_a_reason() -> None:
    without = [
        str(source)
        for source in sources()
        if source.name not in ("__init__.py", "__main__.py")
        and not has_own_test(source)
        and not places(source)
    ]
    assert not without


@pytest.mark.parametrize("pattern", ELSEWHERE)
def test_the_tests_named_instead_exist_and_are_needed(pattern: str) -> None:
    place, _ = ELSEWHERE[pattern]
    assert (ROOT / "tests" / place).is_file()
    needed = [s for s in sources() if pattern in places(s) and not has_own_test(s)]
    assert needed, f"every module of {pattern} has a test of its name"
