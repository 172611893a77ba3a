"""`kmtard convert IN OUT --network NAME`: convert a file of weights.

In your own code, use `from kmtard.networks import convert`.
"""

from __future__ import annotations

import argparse
import os
import tomllib
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from rich.console import Console

from kmtard import registry
from kmtard.commands.parser import Parser
from kmtard.runs import RunError
from kmtard.runs.visible import accept_any_text, tell
from kmtard.training.startup import choose_backend, silent_native_code

if TYPE_CHECKING:
    from kmtard.networks.convert import Conversion

BAD_COMMAND_LINE = 2
FAILED = 1
# PyTorch first, because it is needed to read PyTorch files anyway.
BACKENDS = ("torch", "jax", "tensorflow")
SHOWN = 5


def main(argv: Sequence[str] | None = None, *, prog: str = "kmtard convert") -> int:
    """Run the command.

    Args:
        argv: the arguments; `sys.argv[1:]` if None.
        prog: name of the command in messages.

    Returns:
        The exit code. 0: the new file was written. 1: a file cannot be read or written,
        or the weights do not fit the network. 2: the command line is wrong, and nothing
        was read.
    """
    accept_any_text()
    parser = _parser(prog)
    arguments = parser.parse_args(argv)
    try:
        options = _options(arguments)
    except ValueError as error:
        parser.error(str(error))
    # A .keras file needs no network. A whole model in .h5 is refused later.
    whole = (".keras", ".h5")
    if arguments.network is None and not arguments.source.endswith(whole):
        parser.error(
            f"expected --network with one of {', '.join(registry.NETWORKS)}, or "
            "module:function, because only a .keras file contains its network"
        )
    screen = Console(soft_wrap=True)
    try:
        choose_backend(os.environ.get("KERAS_BACKEND") or _backend())
        with silent_native_code():
            from kmtard.networks import convert
        build = None
        if arguments.network is not None:
            build = registry.resolve("networks", arguments.network)
        done = convert.convert_file(
            os.path.expanduser(arguments.source),
            os.path.expanduser(arguments.target),
            build=build,
            num_classes=arguments.classes,
            input_shape=arguments.input_shape,
            options=options,
            nest=arguments.nest,
            sub_block1=not arguments.no_sub_block1,
            constants=arguments.constants,
        )
    except (ImportError, OSError, RunError, TypeError, ValueError) as error:
        tell(Console(stderr=True, soft_wrap=True), f"failed: {error}")
        return FAILED
    for line in _lines(arguments, done):
        tell(screen, line)
    return 0


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = Parser(
        prog=prog,
        description="Convert a file of weights to another format, and print what was "
        "read. No code in the file is run.",
    )
    add = parser.add_argument
    add("source", metavar="IN", help="PyTorch checkpoint, .safetensors, .weights.h5, "
        ".h5 with weights, or .keras")  # fmt: skip
    add("target", metavar="OUT", help=".keras, .weights.h5, .pt, .pth or .safetensors")
    add("--network", metavar="NAME", help="network of the weights, a name or "
        "module:function; not needed for .keras")  # fmt: skip
    add("--option", action="append", default=[], metavar="KEY=VALUE", dest="options",
        help="option of the network, such as mean=cifar10; repeatable")  # fmt: skip
    add(
        "--classes",
        type=int,
        help="number of classes (default: read from a PyTorch file)",
    )
    add("--input-shape", type=_shape, default=(32, 32, 3), metavar="H,W,C",
        help="shape of an image (default: 32,32,3)")  # fmt: skip
    add("--nest", metavar="KEY", help="key of the checkpoint under which the weights "
        "are, if it holds several sets")  # fmt: skip
    add("--no-sub-block1", action="store_true", help="do not write the unused block "
        "that the class of TRADES has; that of IAD and most of RobustBench's do not "
        "have it")  # fmt: skip
    add("--constants", action="store_true", help="also write mean and std of the "
        "images as tensors, for classes of RobustBench")  # fmt: skip
    return parser


def _shape(text: str) -> tuple[int, int, int]:
    try:
        height, width, channels = map(int, text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected height,width,channels such as 64,64,3, received {text!r}"
        ) from None
    return height, width, channels


def _backend() -> str:
    return next((each for each in BACKENDS if find_spec(each)), BACKENDS[0])


def _options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the options of the network.

    Raises:
        ValueError: the network or an option is unknown, or a text is not KEY=VALUE.
    """
    if arguments.network is None:
        if arguments.options:
            raise ValueError("--option needs --network, which has these options")
        return {}
    try:
        known = registry.options("networks", arguments.network)
    except registry.RegistryError as error:
        raise ValueError(f"--network: {error}") from error
    options = {}
    for text in arguments.options:
        key, equals, value = text.partition("=")
        if not equals or key not in known:
            raise ValueError(
                f"--option: expected KEY=VALUE with one of {', '.join(known)}, "
                f"received {text!r}"
            )
        try:
            given = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            given = value  # plain text, such as a name
        options[key] = tuple(given) if isinstance(given, list) else given
    return options


def _lines(arguments: argparse.Namespace, done: Conversion) -> Iterator[str]:
    network, read = done.network, done.read
    name = arguments.network or network.name
    shape = "x".join(map(str, network.input_shape[1:]))
    yield f"read {arguments.source}: {name}, {network.output_shape[-1]} classes, " + (
        f"images of {shape}"
    )
    if read is not None:
        where = f" under {read.nest!r}" if read.nest else ""
        prefix = f", without the prefix {read.prefix!r}" if read.prefix else ""
        yield f"  weights: {read.tensors} tensors{where}{prefix}"
        if read.skipped:
            more = len(read.skipped) - SHOWN
            names = ", ".join(read.skipped[:SHOWN])
            yield f"  not needed: {names}" + (f" and {more} more" if more > 0 else "")
    source = "from the file" if read and read.constants else "from the network"
    yield f"  images are standardized with: {done.own} ({source})"
    yield f"wrote {arguments.target}"
