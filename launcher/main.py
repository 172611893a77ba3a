"""Entry point of the terminal user interface, `kmtard-launch`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

BAD_USE = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run the terminal user interface and return its exit code.

    0: closed by the user. 1: failed. 2: the command line is wrong.
    """
    arguments = _parser().parse_args(argv)
    if arguments.keys:
        _list_keys()
        return 0
    mistake = _mistake(arguments)
    if mistake is None and not _has_screen():
        mistake = "expected a terminal; without one, use kmtard fit RECIPE"
    if mistake is not None:
        from kmtard.runs.visible import visible_lines

        sys.stderr.write(f"kmtard-launch: {visible_lines(mistake)}\n")
        return BAD_USE

    from launcher.app import LauncherApp
    from launcher.graphics import picture_widget

    app = LauncherApp(
        arguments.runs,
        recipes=arguments.recipe,
        attach=arguments.attach,
        pictures=picture_widget(),
    )
    app.run()
    return app.return_code or 0


def _has_screen() -> bool:
    # textual-serve has no terminal, and sets this variable.
    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    return terminal or "TEXTUAL_DRIVER" in os.environ


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kmtard-launch", description="Pick recipes, launch runs and watch them."
    )
    parser.add_argument(
        "--runs",
        type=_folder,
        default="runs",
        metavar="DIR",
        help="folder of the runs; default: runs",
    )
    parser.add_argument(
        "--recipe",
        type=_path,
        action="append",
        default=[],
        metavar="FILE",
        help="a recipe, or a folder of recipes, to list; may be repeated",
    )
    parser.add_argument("--attach", type=_path, metavar="RUN", help="a run to open")
    parser.add_argument(
        "--keys", action="store_true", help="list every action and its keys"
    )
    return parser


def _folder(text: str) -> Path:
    return _path(text).absolute()


def _path(text: str) -> Path:
    return Path(os.path.expanduser(text))


def _mistake(arguments: argparse.Namespace) -> str | None:
    if arguments.runs.exists() and not arguments.runs.is_dir():
        return f"expected a folder of runs, received a file: --runs {arguments.runs}"
    for path in arguments.recipe:
        if not path.exists():
            return f"expected a recipe or a folder, found nothing: --recipe {path}"
    if arguments.attach is not None:
        from kmtard.runs import Run, RunError

        try:
            Run.open(arguments.attach)
        except RunError as error:
            return str(error)
    return None


def _list_keys() -> None:
    from kmtard.runs.visible import accept_any_text
    from launcher.bindings import all_bindings
    from launcher.settings import config_dir

    accept_any_text()
    sys.stdout.write(f"# Copy lines to {config_dir() / 'keys.toml'} to change keys.\n")
    for name, binding in all_bindings().items():
        about = f"  # {binding.description}" if binding.description else ""
        sys.stdout.write(f'"{name}" = "{binding.key}"{about}\n')


if __name__ == "__main__":
    sys.exit(main())
