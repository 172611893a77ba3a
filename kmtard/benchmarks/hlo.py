"""Read the operations of an optimized HLO program from its text.

XLA prints such a text for every device. It consists of computations. Each computation
is a list of lines `name = shape opcode(operands), attributes`.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field

_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) .*\{$")
_INSTRUCTION = re.compile(
    r"^\s+(?:ROOT )?%?([\w.\-]+) = (\(.*?\)|\S+) ([\w\-]+)\((.*?)\)(.*)$"
)
_SHAPE = re.compile(r"[a-z]\w*\[([\d,]*)\]")
_NAME = re.compile(r"%([\w.\-]+)")
_CALLED = re.compile(
    r"(?:calls|to_apply|body|condition|true_computation|false_computation)="
    r"%?([\w.\-]+)|(?:branch_computations|called_computations)=\{([^}]*)\}"
)
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')
_TARGET = re.compile(r'custom_call_target="([^"]+)"')
_HOST_OPCODES = ("infeed", "outfeed", "send", "recv")
# Memory space 5 is host memory.
_HOST_MEMORY = re.compile(r"\{[\d,]*:[^}]*S\(5\)")


@dataclass
class _Computation:
    flops: float = 0.0
    calls: list[tuple[str, int]] = field(default_factory=list)


@dataclass(frozen=True)
class Program:
    """The operations of one run of a program.

    Attributes:
        flops: floating-point operations of convolutions and matrix products. A
            multiplication and an addition are two operations. The body of a loop counts
            once per iteration.
        host: operations that call the host or move values to or from it.
        endless: number of loops with an unknown number of iterations. Their bodies are
            counted once.
    """

    flops: float
    host: tuple[str, ...]
    endless: int


def read(text: str) -> Program:
    """Read a program.

    Args:
        text: text of an optimized HLO module.

    Raises:
        ValueError: the text has no entry computation.
    """
    computations: dict[str, _Computation] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    host: list[str] = []
    entry, endless = None, 0
    present = _Computation()
    for line in text.splitlines():
        if (head := _COMPUTATION.match(line)) and " = " not in line.split("(")[0]:
            present = computations[head[2]] = _Computation()
            entry = head[2] if head[1] else entry
        elif found := _INSTRUCTION.match(line):
            name, shape, opcode, operands, attributes = found.groups()
            shapes[name] = _dimensions(shape)
            inputs = [shapes.get(each, ()) for each in _NAME.findall(operands)]
            present.flops += _flops(opcode, shapes[name], inputs, attributes)
            trips = _TRIPS.search(attributes)
            endless += opcode == "while" and trips is None
            turns = int(trips[1]) if opcode == "while" and trips else 1
            for one, several in _CALLED.findall(attributes):
                for called in [one] if one else several.split(","):
                    present.calls.append((called.strip().lstrip("%"), turns))
            if kind := _host_operation(opcode, shape, attributes):
                host.append(kind)
    if entry is None:
        raise ValueError(
            "Expected the text of an HLO module with an ENTRY computation. Received: "
            f"{text[:80]!r}."
        )
    return Program(_total(computations, entry, {}), tuple(host), endless)


def _total(
    computations: dict[str, _Computation], name: str, known: dict[str, float]
) -> float:
    if name not in known:
        computation = computations[name]
        known[name] = computation.flops + sum(
            turns * _total(computations, called, known)
            for called, turns in computation.calls
            if called in computations
        )
    return known[name]


def _dimensions(shape: str) -> tuple[int, ...]:
    """Return the dimensions of an array, or of the first array in a tuple."""
    found = _SHAPE.search(shape)
    return tuple(int(size) for size in found[1].split(",") if size) if found else ()


def _flops(
    opcode: str,
    output: tuple[int, ...],
    inputs: list[tuple[int, ...]],
    attributes: str,
) -> float:
    target = found[1] if (found := _TARGET.search(attributes)) else ""
    if opcode == "convolution":
        return _convolution(output, inputs[0], inputs[1], attributes)
    if target.startswith("__cudnn$conv"):
        return _cudnn_convolution(target, output, inputs, attributes)
    if opcode == "dot" or "gemm" in target or "matmul" in target:
        contracted = re.search(
            r'lhs_contracting_dim(?:ension)?s"?[=:][\[{]([\d",]+)[\]}]', attributes
        )
        axes = re.findall(r"\d+", contracted[1]) if contracted else []
        return 2.0 * math.prod(output) * math.prod(inputs[0][int(a)] for a in axes)
    return 0.0


def _convolution(
    output: tuple[int, ...],
    features: tuple[int, ...],
    kernel: tuple[int, ...],
    attributes: str,
) -> float:
    window = math.prod(_window(attributes, "size"))
    _, of_kernel, of_output = _labels(attributes)
    if "lhs_dilate" in attributes:
        # This is the gradient with respect to the input of a strided convolution. It
        # dilates the features with zeros, which are not counted.
        filters = output[of_output.index("f")]
        return 2.0 * math.prod(features) * window * filters
    return 2.0 * math.prod(output) * window * kernel[of_kernel.index("i")]


def _cudnn_convolution(
    target: str,
    output: tuple[int, ...],
    inputs: list[tuple[int, ...]],
    attributes: str,
) -> float:
    # All three directions need the same number of operations, and all have the labels
    # of the forward direction.
    if target.endswith("BackwardFilter"):
        kernel, features = output, inputs[1]
    elif target.endswith("BackwardInput"):
        kernel, features = inputs[1], inputs[0]
    else:
        kernel, features = inputs[1], output
    filters = kernel[_labels(attributes)[1].index("o")]
    return 2.0 * math.prod(features) * math.prod(kernel) / filters


def _window(attributes: str, name: str) -> list[int]:
    found = re.search(rf"window=\{{[^}}]*{name}=([\dx]+)", attributes)
    return [int(size) for size in found[1].split("x")] if found else []


def _labels(attributes: str) -> tuple[str, str, str]:
    found = re.search(r"dim_labels=(\w+)_(\w+)->(\w+)", attributes)
    if found is None:
        raise ValueError(
            f"Expected dim_labels in a convolution. Received: {attributes!r}."
        )
    return found[1], found[2], found[3]


def _host_operation(opcode: str, shape: str, attributes: str) -> str | None:
    target = found[1] if (found := _TARGET.search(attributes)) else ""
    if "callback" in target.lower() or "host" in target.lower():
        return target
    if opcode.removesuffix("-done").removesuffix("-start") in _HOST_OPCODES:
        return opcode
    return f"{opcode} in host memory" if _HOST_MEMORY.search(shape) else None
