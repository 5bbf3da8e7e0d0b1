"""Small valid records. Every part can be replaced by name: ``measurement(batch=8)``."""

from trtlab.codec import Int64Array
from trtlab.model.types import Graph, Model, Node, Tensor
from trtlab.record import (
    BuilderMessage,
    EngineLayer,
    Environment,
    Failure,
    HostMemory,
    LayerProfile,
    LayerTensor,
    LayerTiming,
    Measurement,
    ModelRef,
    Plan,
    Point,
    WarmUp,
    Window,
)
from trtlab.spec import BuildConfig, Caveat, RunConfig

MODEL = ModelRef("digits", "a1" * 32, "fp32", None)
X = Tensor("x", "float32", ("N", 1, 8, 8))
Y = Tensor("y", "float32", ("N", 10))
X_OF_LAYER, Y_OF_LAYER = LayerTensor.of(X), LayerTensor.of(Y)
H_OF_LAYER = LayerTensor("h", "float32", None)
MS = 1_000_000


def environment(**parts):
    """Another machine than the one that runs the tests, unless ``machine`` says otherwise."""
    return Environment(
        **{
            "machine": "0123456789abcdef",
            "cpu": "A processor",
            "cores": 4,
            "memory_bytes": 16 * 2**30,
            "os": "Linux 6.1 x86_64",
            "python": "3.11.7",
            "packages": {"trtlab": "0.1.0", "numpy": "2.4.0", "onnxruntime": "1.31.1"},
            "created": "2026-11-21T10:00:00+00:00",
            "load_average": 0.5,
        }
        | parts
    )


def window(latencies_ms, wall_ms=None, streams=1):
    """A window; its wall time is that of the calls unless told."""
    ns = [round(ms * MS) for ms in latencies_ms]
    return Window(Int64Array(ns), round(wall_ms * MS) if wall_ms else max(1, sum(ns) // streams))


def memory(**parts):
    return HostMemory(
        **{
            "baseline": 50 * 2**20,
            "loaded": 60 * 2**20,
            "peak": 80 * 2**20,
            "weights": 4 * 2**20,
            "repacked": 2 * 2**20,
            "activations": 6 * 2**20,
            "io": 2**20,
        }
        | parts
    )


def plan(**parts):
    return Plan(
        **{
            "hash": "b2" * 32,
            "model": MODEL,
            "model_path": "/models/digits.onnx",
            "inputs": (X,),
            "outputs": (Y,),
            "weight_bytes": 4096,
            "config": BuildConfig(optimization_level="all"),
            "build_seconds": 0.25,
            "plan_bytes": 5000,
            "layers": (
                EngineLayer("conv", "FusedConv", (X_OF_LAYER,), (H_OF_LAYER,), "ms"),
                EngineLayer("fc", "Gemm", (H_OF_LAYER,), (Y_OF_LAYER,)),
            ),
            "memory": None,
            "messages": (BuilderMessage("warning", "a warning"),),
            "peak_rss_bytes": 90 * 2**20,
            "environment": environment(),
            "caveats": (Caveat("not-saved", "No room.", "Free some."),),
        }
        | parts
    )


def measurement(latencies_ms=(4.0, 4.1, 3.9, 4.05, 3.95, 4.02, 3.98, 4.03, 3.97, 4.0), **parts):
    """Three windows of the same latencies; they are steady unless ``windows`` says otherwise."""
    return Measurement(
        **{
            "model": MODEL,
            "plan": "b2" * 32,
            "build": BuildConfig(optimization_level="all"),
            "run": RunConfig(batch=1),
            "provider": "CPUExecutionProvider",
            "batch": 1,
            "shapes": {"x": (1, 1, 8, 8)},
            "contents": "call",
            "windows": (window(latencies_ms),) * 3,
            "steady_from": 0,
            "stable": True,
            "warm_up": WarmUp(12, 0.1, True),
            "first_call_ns": 9 * MS,
            "load_seconds": 0.02,
            "cpu_ns_per_call": 8 * MS,
            "other_load": 0.01,
            "memory": memory(),
            "energy_joules": None,
            "energy_note": "this machine reports no power",
            "environment": environment(),
        }
        | parts
    )


def layer(name="conv", samples_us=(30, 31, 29), **parts):
    return LayerTiming(
        **{
            "name": name,
            "type": "FusedConv",
            "provider": "CPUExecutionProvider",
            "samples_ns": Int64Array(us * 1000 for us in samples_us),
            "output_shapes": ((1, 8, 8, 8),),
            "arena_bytes": 4096,
        }
        | parts
    )


def layer_profile(**parts):
    return LayerProfile(
        **{
            "model": MODEL,
            "plan": "b2" * 32,
            "build": BuildConfig(optimization_level="all"),
            "run": RunConfig(batch=1),
            "batch": 1,
            "time_kind": "cpu",
            "layers": (
                layer(),
                layer("fc", (10, 11, 9), type="Gemm", output_shapes=((1, 10),), arena_bytes=None),
            ),
            "runs_ns": Int64Array([50_000, 51_000, 49_000]),
            "environment": environment(),
        }
        | parts
    )


def point(**parts):
    return Point(
        **{
            "model": MODEL,
            "build": BuildConfig(),
            "run": RunConfig(batch=1),
            "plan": plan(),
            "measurement": measurement(),
        }
        | parts
    )


def failed_point():
    return point(plan=None, measurement=None, failure=Failure("build", "No.", "Try."))


def model(**parts):
    return Model(
        **{
            "name": "digits",
            "path": "/models/digits.onnx",
            "hash": "a1" * 32,
            "inputs": (X,),
            "outputs": (Y,),
            "opset": 17,
            "ir_version": 8,
            "parameters": 1000,
            "weight_bytes": 4000,
        }
        | parts
    )


def graph():
    inner = Graph("then", (), {}, (), ("z",))
    return Graph(
        "net",
        (
            Node(
                "n", "Conv", ("x", "w", ""), ("y",), "", {"pads": (1, 1), "alpha": 1.0, "s": "a"}
            ),
            Node("i", "If", ("c",), ("z",), subgraphs={"then_branch": inner}),
        ),
        {"x": X, "y": Y, "w": Tensor("w", "float32", (1, None), True)},
        ("x",),
        ("y",),
    )


def records():
    """One of each kind that the store keeps."""
    return [plan(), measurement(), layer_profile()]
