"""One conversion from file to file: the recipe's passes in their order, and what they report.

Runs native code: for worker processes.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import numpy as np
import onnx
from onnx import NodeProto, TensorProto

from trtlab.environment import version
from trtlab.errors import UnsupportedError
from trtlab.model.conversion import ConversionReport, KeptNode, Range
from trtlab.precision import graphs, modelopt
from trtlab.precision.floats import LARGEST, to_floats
from trtlab.precision.fragile import FRAGILE
from trtlab.precision.quantize import OPS, beside_constants, quantize
from trtlab.precision.recipes import Options, Recipe, recipe_of
from trtlab.precision.request import Request
from trtlab.precision.weights_only import narrow
from trtlab.worker import Progress

_TYPED_SCALES = 19, 9
"""Opset and IR version from which scales may be FP16 or BF16."""

_MASK = 1e30
"""Values from which on a tensor is taken for a mask: exporters write the lowest FP32 number."""

_LEAST_NORMAL = 2.0**-14
"""FP16's smallest number with all its bits."""

_FEWEST_SAMPLES = 32
"""Below this the doubt is raised: a few images' ranges cut those that come later."""


def convert_file(request: Request, progress: Progress) -> None:
    """Carry out a request.

    Raises:
        ModelError: a weight is beyond the new type's range, or the model is too large.
        SpecError: a node or operator to keep is not there.
        UnsupportedError: the graph cannot be converted, or nothing in it can.
    """
    begin = time.perf_counter()
    recipe, options = recipe_of(request.recipe), request.options
    progress("read the model", 0, 3)
    parent = graphs.open_graph(Path(request.source))
    before = graphs.weight_bytes(parent), graphs.weight_elements(parent)
    asked = graphs.chosen_nodes(parent.graph.node, options.keep, options.keep_ops)
    progress("convert", 1, 3)
    made = _Made(parent, recipe, request, asked)
    progress("write", 2, 3)
    report = ConversionReport(
        recipe=_whole_recipe(request.before, recipe),
        tools=made.tools,
        parent=request.parent,
        parent_name=request.name,
        options=options.words(),
        converted=tuple(made.converted),
        kept=tuple(made.kept.values()),
        casts=made.casts,
        quantizers=made.quantizers,
        weights=before[1],
        weights_converted=min(made.weights_converted, before[1]),
        clipped=made.clipped,
        flushed=made.flushed,
        bytes_before=before[0],
        bytes_after=graphs.weight_bytes(made.model),
        ranges=request.ranges or made.weight_ranges,
        calibration=request.calibration,
        seconds=time.perf_counter() - begin,
        doubts=tuple(made.doubts),
    )
    graphs.save(made.model, Path(request.target), report)
    progress("write", 3, 3)


def _whole_recipe(before: str, recipe: Recipe) -> str:
    return recipe.name if before == "fp32" else f"{before}+{recipe.floats}"


class _Made:
    """The model as it is so far, and what was done to it."""

    def __init__(
        self,
        parent: onnx.ModelProto,
        recipe: Recipe,
        request: Request,
        asked: Mapping[str, str],
    ) -> None:
        self.model = parent
        self.parent_nodes = list(parent.graph.node)
        self.tools: tuple[str, ...] = ()
        self.converted: list[str] = []
        self.kept: dict[str, KeptNode] = {}
        self.casts = self.quantizers = self.weights_converted = self.clipped = self.flushed = 0
        self.weight_ranges: Mapping[str, Range] = {}
        self.doubts: list[str] = []
        if recipe.needs_data:
            self._quantize(recipe, request, asked)
        elif recipe.quantised is not None:
            self._narrow(recipe.quantised, request.options, asked)
        if recipe.floats != "fp32":
            self._cast(recipe, request, asked)
        self._doubt(request)

    def _keep(self, nodes: Sequence[NodeProto], reasons: Mapping[str, str]) -> None:
        for node in nodes:
            if node.name in reasons:
                self.kept[node.name] = KeptNode(node.name, node.op_type, reasons[node.name])

    def _quantize(self, recipe: Recipe, request: Request, asked: Mapping[str, str]) -> None:
        prepared = onnx.load(request.prepared or "")
        nodes = list(prepared.graph.node)
        constant = dict.fromkeys(beside_constants(prepared), "one side of it is a constant")
        masks = _beyond(nodes, request.ranges, _MASK, "no numbers but a mask")
        left = constant | masks | _renamed(self.parent_nodes, nodes, asked)
        done = quantize(
            prepared,
            str(recipe.quantised),
            request.ranges,
            left,
            request.options,
        )
        self.model = done.model
        self.tools = (f"onnxruntime {_ort_version()}",)
        if recipe.quantised == "fp8":
            self.tools += (_own(),)
        self.quantizers, self.weights_converted = done.quantizers, done.converted
        self.clipped, self.flushed = done.clipped, done.flushed
        widened = {n.output[0] for n in self.model.graph.node if n.op_type == "DequantizeLinear"}
        self.converted = [
            n.name
            for n in self.model.graph.node
            if n.op_type != "QuantizeLinear"
            and n.name not in left
            and widened.intersection(n.input)
        ]
        names = set(self.converted)
        reasons = {
            n.name: left.get(n.name) or FRAGILE.get(n.op_type) or _why_not(n)
            for n in nodes
            if n.name not in names
        }
        self._keep(nodes, reasons)

    def _narrow(self, kind: str, options: Options, asked: Mapping[str, str]) -> None:
        nodes, every = list(self.model.graph.node), graphs.weight_elements(self.model)
        done = narrow(self.model, 4 if kind == "int4-weights" else 8, set(asked),
                      per_channel=options.per_channel)  # fmt: skip
        self.model = done.model
        self.tools = (_own(),)
        self.converted = list(done.nodes)
        self.weights_converted, self.flushed = done.converted, done.flushed
        stored = {t.name for t in graphs.float_weights(self.model)}
        others = [n for n in nodes if n.name not in done.nodes and stored.intersection(n.input)]
        reasons = dict.fromkeys((n.name for n in others), "its weights are none of a product")
        reasons |= dict.fromkeys(done.too_small, "its blocks do not fit")
        self._keep(nodes, reasons | dict(asked))
        if kind == "int4-weights":
            share = done.converted / max(1, every)
            self.doubts.append(
                f"Only matrix products take INT4: {len(done.nodes)} of the nodes, {share:.0%} of "
                "the weights."
            )

    def _cast(self, recipe: Recipe, request: Request, asked: Mapping[str, str]) -> None:
        options = request.options
        quantised = recipe.quantised is not None
        if quantised or request.before != "fp32":
            self.model = graphs.with_opset(self.model, *_TYPED_SCALES)
        nodes = list(self.model.graph.node)
        types = graphs.inferred_types(self.model)
        floating = [n for n in nodes if any(types.get(o) == TensorProto.FLOAT for o in n.output)]
        reasons = {n.name: FRAGILE[n.op_type] for n in nodes if n.op_type in FRAGILE}
        if recipe.floats == "fp16":
            reasons |= _beyond(nodes, request.ranges, LARGEST["fp16"], "beyond FP16")
            reasons |= _small_scales(self.model)
        reasons |= _renamed(self.parent_nodes, nodes, asked)
        done = to_floats(
            self.model, recipe.floats, set(reasons), keep_io=options.keep_io, clip=options.clip
        )
        self.tools = tuple(dict.fromkeys(
            (*self.tools, f"onnxruntime {_ort_version()}", _own())
        ))  # fmt: skip
        self.casts = done.casts
        self.weights_converted += done.converted
        self.clipped += done.clipped
        self.flushed += done.flushed
        self.weight_ranges = done.ranges
        reasons |= dict.fromkeys(done.left, "the converter leaves this operator in FP32")
        if not quantised:
            self.converted = [n.name for n in floating if n.name not in reasons]
        self._keep(floating, reasons)
        if not done.converted and not self.converted:
            raise UnsupportedError(
                "Nothing in the model is in FP32, or all of it is kept.", hint="Keep fewer nodes."
            )

    def _doubt(self, request: Request) -> None:
        calibration = request.calibration
        if calibration is not None and calibration.random:
            self.doubts.insert(
                0, "Calibrated with RANDOM numbers: good for a trial build, not for accuracy."
            )
        elif calibration is not None and calibration.samples < _FEWEST_SAMPLES:
            self.doubts.append(
                f"Calibrated with {calibration.samples} samples: later inputs may leave their "
                "ranges."
            )
        if not request.options.is_symmetric:
            self.doubts.append(
                "Zero points other than 0: runs on ONNX Runtime's CPU, TensorRT refuses it."
            )


def _own() -> str:
    return f"trtlab {version('trtlab') or 'from its sources'}"


def _ort_version() -> str:
    import onnxruntime

    return str(onnxruntime.__version__)


def _renamed(
    parent: Sequence[NodeProto],
    nodes: Sequence[NodeProto],
    asked: Mapping[str, str],
) -> dict[str, str]:
    """Return what is to be kept by its name in the prepared graph.

    Folding takes nodes away: then the one that makes their result is meant.
    """
    names = {n.name for n in nodes}
    makers = {o: n.name for n in nodes for o in n.output}
    found: dict[str, str] = {}
    for node in parent:
        if node.name in asked:
            made = [makers[o] for o in node.output if o in makers]
            chosen = [node.name] if node.name in names else made
            found |= dict.fromkeys(chosen, asked[node.name])
    return found


def _why_not(node: NodeProto) -> str:
    if node.op_type not in OPS:
        return "not an operator that is quantised"
    return "nothing around it is quantised"


def _small_scales(model: onnx.ModelProto) -> dict[str, str]:
    """Return the quantisers whose scales FP16 would hold with fewer bits, or as 0."""
    stored = {t.name: t for t in model.graph.initializer}
    found = {}
    for node in model.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear") and node.input[1] in stored:
            least = float(np.abs(graphs.array_of(stored[node.input[1]])).min())
            if least < _LEAST_NORMAL:
                found[node.name] = f"its scale {least:.3g} is below FP16's normal numbers"
    return found


def _beyond(
    nodes: Sequence[NodeProto], ranges: Mapping[str, Range], largest: float, why: str
) -> dict[str, str]:
    """Return the nodes with tensors that took larger values on the calibration data."""
    peaks = {name: max(abs(r.low), abs(r.high)) for name, r in ranges.items()}
    found = {}
    for node in nodes:
        peak = max((peaks.get(t, 0.0) for t in (*node.input, *node.output)), default=0.0)
        if peak > largest:
            found[node.name] = f"values up to {peak:.3g} on the data, {why}"
    return found


def convert_by_modelopt(request: Request, progress: Progress) -> None:
    """Let ModelOpt carry out a request, and find out from its result what it did.

    Raises:
        BackendUnavailableError: ModelOpt is not installed, or not complete.
        ExecutionError: ModelOpt failed.
        As ``convert_file`` otherwise.
    """
    source, options = Path(request.source), request.options
    parent = graphs.open_graph(source)
    before = graphs.weight_bytes(parent), graphs.weight_elements(parent)
    asked = graphs.chosen_nodes(parent.graph.node, options.keep, options.keep_ops)
    named = Path(request.target).with_name("named.onnx")
    onnx.save(parent, named)
    done = modelopt.convert(
        modelopt.ModelOptRequest(
            source=str(named),
            target=request.target,
            recipe=cast("modelopt.ModelOptRecipe", request.recipe),
            samples=request.samples.paths if request.samples else None,
            keep_nodes=tuple(asked),
            keep_io=options.keep_io,
            calibrator=options.calibrator,
        ),
        progress,
    )
    model = onnx.load(request.target)
    types = graphs.inferred_types(model)
    narrow = {TensorProto.FLOAT16, TensorProto.BFLOAT16}
    widened = {n.output[0] for n in model.graph.node if n.op_type == "DequantizeLinear"}
    nodes = [n for n in model.graph.node if n.op_type not in (*_CONVERTERS, "Constant")]
    chosen = [
        n
        for n in nodes
        if widened.intersection(n.input) or any(types.get(o) in narrow for o in n.output)
    ]
    names = {n.name for n in chosen}
    report = ConversionReport(
        recipe=request.recipe,
        tools=(f"modelopt {done.version}",),
        parent=request.parent,
        parent_name=request.name,
        options=options.words(),
        converted=tuple(names),
        kept=tuple(
            KeptNode(n.name, n.op_type, asked.get(n.name, "ModelOpt's choice"))
            for n in nodes
            if n.name not in names
        ),
        casts=sum(n.op_type == "Cast" for n in model.graph.node)
        - sum(n.op_type == "Cast" for n in parent.graph.node),
        quantizers=sum(n.op_type == "QuantizeLinear" for n in model.graph.node),
        weights=before[1],
        weights_converted=max(0, before[1] - graphs.elements_of(model, TensorProto.FLOAT)),
        bytes_before=before[0],
        bytes_after=graphs.weight_bytes(model),
        calibration=request.calibration,
        seconds=done.seconds,
        doubts=done.doubts,
    )
    graphs.save(model, Path(request.target), report)


_CONVERTERS = ("Cast", "QuantizeLinear", "DequantizeLinear")
