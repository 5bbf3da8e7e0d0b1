"""Small valid runs of TensorRT-RTX engines with layers, and what a panel shows of them."""

import ipywidgets as w

from tests import accuracies, making
from trtlab.model.types import Graph, Node, Tensor
from trtlab.record import BuilderMemory, EngineLayer, LayerTensor, Run, RunLine
from trtlab.spec import BuildConfig, RunConfig, Setup
from trtlab.spec.build import ShapeRange

EVIL = "<script>alert(1)</script>"
TYPES = {"fp32": "float32", "int8": "int8", "fp16": "float16", "bf16": "bfloat16"}


def graph():
    """A convolution with its activation, and a product."""
    shapes = {"x": ("N", 1, 8, 8), "c": ("N", 4, 8, 8), "h": ("N", 4, 8, 8), "y": ("N", 10)}
    tensors = {name: Tensor(name, "float32", shape) for name, shape in shapes.items()}
    weights = {"w": (4, 1, 3, 3), "v": (256, 10)}
    tensors |= {name: Tensor(name, "float32", shape, True) for name, shape in weights.items()}
    nodes = (
        Node("conv", "Conv", ("x", "w"), ("c",), "", {"pads": (1, 1, 1, 1)}),
        Node("relu", "Relu", ("c",), ("h",)),
        Node("fc", "Gemm", ("h", "v"), ("y",)),
    )
    return Graph("net", nodes, tensors, ("x",), ("y",))


def rtx_config(largest=16, opt=8):
    """TensorRT-RTX with one profile."""
    profile = {"x": ShapeRange(*((b, 1, 8, 8) for b in (1, opt, largest)))}
    return BuildConfig(backend="tensorrt_rtx", target=("sm89",), profiles=(profile,))


def rtx_plan(recipe="fp32", dtypes=None, **parts):
    """A plan of two layers; ``dtypes`` are what they read, by default all in the recipe's."""
    model = making.MODEL if recipe == "fp32" else accuracies.converted(recipe)
    one, two = dtypes or (TYPES[recipe],) * 2
    x = LayerTensor("x", one, (None, 1, 8, 8))
    h = LayerTensor("h", two, (None, 4, 8, 8))
    y = LayerTensor("y", "float32", (None, 10))
    layers = (
        EngineLayer("conv_relu", "correlation", (x,), (h,), nodes=("conv", "relu"), stream=0),
        EngineLayer("fc", "gemm", (h,), (y,), nodes=("fc",), stream=0),
    )
    return making.plan(
        **{
            "model": model,
            "config": rtx_config(),
            "layers": layers,
            "memory": BuilderMemory(activation=3 * 2**20, scratch=3 * 2**20, weights=2**10),
            "caveats": (),
            "hash": recipe.encode().hex().ljust(64, "b"),
        }
        | parts
    )


def run(recipe="fp32", batch=8, *, line=(), **parts):
    """A run whose engine TensorRT-RTX built and whose model ONNX Runtime ran.

    Args:
        recipe: Its precision.
        batch: That was measured.
        line: Parts of its line.
        **parts: Other parts of it.
    """
    made = making.MODEL if recipe == "fp32" else accuracies.converted(recipe)
    setup = Setup(precision=recipe, batches=(1, 8, 16), batch=batch, builder="tensorrt_rtx")
    measured = making.measurement(model=made, batch=batch, run=RunConfig(batch=batch))
    whole = {
        "model": making.MODEL, "origin": None, "made": made, "setup": setup,
        "environment": making.environment(),
    } | dict(line)  # fmt: skip
    return Run(
        line=RunLine(**whole),
        **{
            "plan": rtx_plan(recipe),
            "ran": making.plan(model=made),
            "measurement": measured,
            "accuracy": accuracies.accuracy(made),
        }
        | parts,
    )


def all_of(widget, kind):
    """Every widget of a kind in a panel."""
    found = [widget] if isinstance(widget, kind) else []
    for child in getattr(widget, "children", ()):
        found += all_of(child, kind)
    return found


def text(panel):
    """All HTML that a panel shows."""
    return " ".join(h.value for h in all_of(panel, w.HTML))
