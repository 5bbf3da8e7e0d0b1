"""ONNX file or network function → TensorRT's network, and what is said against it."""

from __future__ import annotations

import ast
import re
import traceback
from pathlib import Path
from typing import Any

from trtlab.backends.base import Rejection
from trtlab.backends.tensorrt import bindings as api
from trtlab.backends.tensorrt.module import Log
from trtlab.errors import BuildError, ParseError, SpecError, UnsupportedError
from trtlab.formats.engine_layers import dtype_name
from trtlab.model.types import Tensor
from trtlab.spec import BuildConfig, Profile
from trtlab.worker import Progress


def empty_network(trt: api.Module, builder: api.Builder) -> api.Network:
    """Return a strongly typed network with nothing in it."""
    # Needed on 10.x, the default from 11 on: precision is what the graph says.
    return builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))


def parse(
    trt: api.Module, network: api.Network, log: Log, model: Path, progress: Progress
) -> api.OnnxParser:
    """Parse into ``network``; returns the parser, whose weights must outlive the build."""
    progress("parse", 0, 1)
    parser = trt.OnnxParser(network, log.logger)
    if not parser.parse_from_file(str(model)):
        found = rejections_of(parser, log)
        first = found[0]
        where = f"node {first.node or first.index} ({first.op})" if first.op else model.name
        more = f" {len(found) - 1} more are in the details." if len(found) > 1 else ""
        raise ParseError(
            f"TensorRT's parser refuses {where}: {first.reason}.{more}",
            hint=first.hint,
            details="\n".join(
                [*(f"{r.node or r.index} ({r.op}): {r.reason}" for r in found), *log.errors()]
            ),
        )
    return parser


_REASONS = {
    "UNSUPPORTED_NODE": (
        "it does not support this operator with these types and attributes",
        "Replace the node, or export with another opset; inspect --backend lists them all.",
    ),
    "INVALID_NODE": (
        "the node's inputs or attributes do not fit together",
        "Check types and shapes of its inputs.",
    ),
    "INVALID_GRAPH": (
        "the graph is not sound",
        "Export it again; weights beside the file must lie where it expects them.",
    ),
    "MODEL_DESERIALIZE_FAILED": ("the file is no ONNX model", "Export it again."),
    "UNSUPPORTED_GRAPH": ("it does not support this graph", "Export it with another opset."),
}
_PLUGIN = "Plugin not found"
USAGE = re.compile(r"Error Code \d+: [\w ]*\((.*?)[.)]*(?: In \S+ at |$)", re.MULTILINE)
"""What TensorRT's own errors look like: code, kind, and in parentheses text and source line."""


def rejections_of(parser: api.OnnxParser, log: Log) -> tuple[Rejection, ...]:
    """Return what the parser says, with reason and hint in our words where they are known."""
    found = []
    for index in range(parser.num_errors):
        error = parser.get_error(index)
        code, text = error.code().name, error.desc()
        reason, hint = _REASONS.get(code, (first_line(text), "Export the model again."))
        if error.node() < 0 and code in ("UNSUPPORTED_NODE", "INVALID_NODE") and text.strip():
            # About the whole model, such as an input of a type that it does not have.
            reason = first_line(text).rstrip(".")
            hint = "Export the model again, with types and files that TensorRT takes."
        elif _PLUGIN in text:
            reason = "it does not know this operator, and no plugin provides it"
            hint = "Name the plugin's library with plugin_libraries (--plugin)."
        elif usage := USAGE.search(text):
            reason = usage[1].rstrip(".")
        elif code == "INVALID_GRAPH":
            reason = f"{reason} ({first_line(text)})"
        found.append(
            Rejection(
                index=error.node(),
                node=error.node_name(),
                op=error.node_operator(),
                reason=reason,
                hint=hint,
                # The operators' checks look at every node; importing ends at the first failure.
                while_importing=not error.func().startswith("check"),
            )
        )
    if not found:
        reason = log.errors()[0] if log.errors() else "it gives no reason"
        found.append(Rejection(-1, "", "", reason, "Export the model again.", True))
    return tuple(found)


def first_line(text: str) -> str:
    """Return the first line of what TensorRT says, or that it says nothing."""
    return text.strip().splitlines()[0][:300] if text.strip() else "no reason given"


def check_network(network: api.Network, config: BuildConfig) -> None:
    """Refuse what the builder would only find at its end, or never."""
    if network.num_outputs == 0:
        raise ParseError("The network has no outputs.", hint="Export the model with outputs.")
    for i in range(network.num_inputs):
        if network.get_input(i).is_shape_tensor:
            raise UnsupportedError(
                f"Input {network.get_input(i).name!r} holds a shape: its values decide the sizes "
                "of other tensors, and trtlab cannot give TensorRT a range for them yet.",
                hint="Export the model with that shape fixed.",
            )
    declared = {name for profile in config.profiles for name in profile}
    for i in range(network.num_inputs):
        tensor = network.get_input(i)
        if -1 in tuple(tensor.shape) and tensor.name not in declared:
            raise SpecError(
                f"Input {tensor.name!r} is dynamic {list(tensor.shape)}, and no optimization "
                "profile says how large it gets.",
                hint=f"Give its shapes, as in --min-shapes {tensor.name}:1x3x224x224 with "
                "--opt-shapes and --max-shapes.",
            )


def add_profile(
    builder: api.Builder,
    settings: api.BuilderConfig,
    network: api.Network,
    shapes: Profile,
    log: Log,
) -> None:
    """Add an optimization profile.

    Raises:
        SpecError: TensorRT refuses it, or the network has no such input.
    """
    profile = builder.create_optimization_profile()
    inputs = [network.get_input(i) for i in range(network.num_inputs)]
    unknown = sorted(set(shapes) - {tensor.name for tensor in inputs})
    if unknown:
        raise SpecError(
            f"The network has no input called {unknown[0]!r}.",
            hint=f"Its inputs are {', '.join(repr(t.name) for t in inputs)}.",
        )
    for name, (smallest, best, largest) in shapes.items():
        profile.set_shape(name, smallest, best, largest)
    # set_shape says nothing of what it refuses; the profile's truth value does, and the log.
    if not profile or settings.add_optimization_profile(profile) < 0:
        raise SpecError(
            "TensorRT refuses the optimization profile: " + "; ".join(log.errors()[-2:]) + ".",
            hint="Every axis must satisfy min ≤ opt ≤ max, fixed axes keep their size.",
        )


def call_network_function(trt: api.Module, network: api.Network, source: str, log: Log) -> Any:
    """Define a network by the caller's function; returns what it returns, to be kept alive."""
    (definition,) = ast.parse(source).body
    scope: dict[str, Any] = {"__name__": "trtlab_network"}
    try:
        exec(compile(source, "<network function>", "exec", dont_inherit=True), scope)
        return scope[getattr(definition, "name", "")](trt, network)
    except Exception as error:
        place = [f for f in traceback.extract_tb(error.__traceback__) if "<network" in f.filename]
        where = f" in line {place[-1].lineno}" if place else ""
        said = log.errors()
        raise BuildError(
            f"The network function failed{where}: {type(error).__name__}: {error}",
            hint="It gets the module and an empty network, and must import what it uses itself."
            + (f" TensorRT says: {said[0]}" if said else ""),
            details="\n".join(said),
        ) from error


def tensor_of(tensor: api.Tensor) -> Tensor:
    """Return what TensorRT tells of a network's tensor."""
    # Dimensions may have names here too; most functions give none, and the first is the batch.
    shape = tuple(
        int(d) if d >= 0 else (tensor.get_dimension_name(i) or ("N" if i == 0 else None))
        for i, d in enumerate(tensor.shape)
    )
    return Tensor(tensor.name, dtype_name(tensor.dtype.name), shape)
