"""Small graphs and layers, written as people would sketch them."""

from dataclasses import replace

from tests.making import plan
from trtlab.analysis.fusion.fuse import fuse
from trtlab.model.types import Graph, Node, Tensor
from trtlab.record import EngineLayer, LayerTensor
from trtlab.spec import BuildConfig

SHAPE = (1, 8, 4, 4)


def node(name, op, inputs, outputs, **attributes):
    return Node(name, op, tuple(inputs.split()), tuple(outputs.split()), attributes=attributes)


def graph(*nodes, inputs="x", outputs="y", shapes=None, constants="", dtypes=None):
    """Every tensor is float32 [1, 8, 4, 4] but those in ``shapes`` and ``dtypes``."""
    names = dict.fromkeys(
        [*inputs.split(), *(t for n in nodes for t in (*n.inputs, *n.outputs) if t)]
    )
    weights = set(constants.split()) | {o for n in nodes if n.op == "Constant" for o in n.outputs}
    tensors = {
        name: Tensor(
            name,
            (dtypes or {}).get(name, "float32"),
            (shapes or {}).get(name, SHAPE),
            is_constant=name in weights,
        )
        for name in names
    }
    return Graph("net", tuple(nodes), tensors, tuple(inputs.split()), tuple(outputs.split()))


def tensor(text, shape=SHAPE, dtype="float32", format=None):
    return LayerTensor(text, dtype, shape, format=format)


def layer(name, inputs="", outputs="", *, nodes="", type="CaskConvolution", shapes=None, **parts):
    """A layer as TensorRT reports it; its tensors are float32 [1, 8, 4, 4] but ``shapes``."""

    def tensors(names):
        return tuple(tensor(n, (shapes or {}).get(n, SHAPE)) for n in names.split())

    return EngineLayer(
        name, type, tensors(inputs), tensors(outputs), nodes=tuple(nodes.split()), **parts
    )


def fused(made, *layers, backend="tensorrt", **parts):
    config = BuildConfig(backend=backend)
    return fuse(replace(plan(), config=config, layers=tuple(layers), **parts), made)


def fate(fusion, name):
    return next(f for f in fusion.fates if f.node == name)


def group(fusion, name):
    return next(g for y, g in zip(fusion.layers, fusion.groups, strict=True) if y.name == name)
