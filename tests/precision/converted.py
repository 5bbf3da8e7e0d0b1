"""Small networks and the steps of a conversion, in this process, for the tests in this folder."""

import numpy as np
import onnx
from onnx import helper
from onnx.reference import ReferenceEvaluator

from tests.model import nets
from trtlab.precision import calibrate, graphs
from trtlab.precision.floats import to_floats
from trtlab.precision.quantize import OPS, quantize
from trtlab.precision.recipes import Options

node = helper.make_node


def draw(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("f4")


def cnn():
    """Each operator with weights once, a BatchNorm after the first: 3x8x8 to 5."""
    return nets.model(
        [
            node("Conv", ["x", "w", "b"], ["c"], name="conv"),
            node("BatchNormalization", ["c", "scale", "bias", "mean", "var"], ["n"], name="bn"),
            node("Relu", ["n"], ["r"], name="relu"),
            node("ConvTranspose", ["r", "wt"], ["d"], name="deconv"),
            node("GlobalAveragePool", ["d"], ["g"], name="pool"),
            node("Flatten", ["g"], ["f"], name="flat"),
            node("Gemm", ["f", "wg", "bg"], ["h"], transB=1, name="gemm"),
            node("MatMul", ["h", "wm"], ["y"], name="product"),
        ],
        {"x": ["N", 3, 8, 8]},
        {"y": ["N", 5]},
        {
            "w": draw(8, 3, 3, 3), "b": draw(8, seed=1), "scale": draw(8, seed=2),
            "bias": draw(8, seed=3), "mean": draw(8, seed=4), "var": abs(draw(8, seed=5)) + 0.5,
            "wt": draw(8, 4, 2, 2, seed=6), "wg": draw(6, 4, seed=7), "bg": draw(6, seed=8),
            "wm": draw(6, 5, seed=9),
        },
    )  # fmt: skip


def chain(*ops, width=4, weights=None):
    """Operators one after the other, called by their numbers: 0, 1, …"""
    ends = ["x", *(f"t{i}" for i in range(1, len(ops))), "y"]
    nodes = [node(op, [ends[i]], [ends[i + 1]], name=str(i)) for i, op in enumerate(ops)]
    shape = ["N", width]
    return nets.model(nodes, {"x": shape}, {"y": shape}, weights or {})


def opened(proto, folder):
    path = folder / "source.onnx"
    onnx.save(proto, path)
    return graphs.open_graph(path)


def cast(proto, folder, kind="fp16", left=(), *, keep_io=True, clip=False):
    """Return the model in FP16 or BF16 and what was done; checked by onnx."""
    model = opened(proto, folder)
    done = to_floats(model, kind, left, keep_io=keep_io, clip=clip)
    onnx.checker.check_model(model)
    return model, done


def settled(proto, samples, folder, calibrator="minmax"):
    """Return where the prepared model lies, and its ranges."""
    prepared = folder / "prepared.onnx"
    onnx.save(proto, folder / "source.onnx")
    calibrate.prepare(folder / "source.onnx", prepared)
    found = calibrate.ranges(
        prepared, calibrator, {"x": samples}, OPS, folder, lambda *_: None
    )  # fmt: skip
    return prepared, found


def quantised(proto, samples, folder, kind="int8", left=(), **options):
    prepared, ranges = settled(proto, samples, folder)
    done = quantize(onnx.load(prepared), kind, ranges, left, Options(**options))
    onnx.checker.check_model(done.model)
    return done


def exact(model, **feed):
    """Run a model by onnx's reference, which rounds every tensor to its type.

    ONNX Runtime's CPU leaves casts to FP16 out.
    """
    return ReferenceEvaluator(model).run(None, feed)


def run(model, **feed):
    """Run a model by ONNX Runtime, nothing fused."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    content = model if isinstance(model, str) else model.SerializeToString()
    session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return session.run(None, feed)


def values(model):
    """Initialisers by name."""
    return {t.name: graphs.array_of(t) for t in model.graph.initializer}


def ops(model):
    return [n.op_type for n in model.graph.node]


def called(model, name):
    return next(n for n in model.graph.node if n.name == name)


def makers(model):
    return {out: n for n in model.graph.node for out in n.output}
