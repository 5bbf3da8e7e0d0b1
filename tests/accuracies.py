"""Small valid accuracies, and points of a sweep over precisions."""

from tests import making
from trtlab.record import (
    Accuracy,
    DataRef,
    Failure,
    LabelMetrics,
    ModelRef,
    NodeError,
    OutputError,
)
from trtlab.spec import BuildConfig, RunConfig
from trtlab.stats import Interval

FP32 = making.MODEL
RTX = BuildConfig(backend="tensorrt_rtx", target=("sm89",))


def converted(recipe):
    """A model in another precision whose parent is FP32."""
    return ModelRef(FP32.name, recipe.encode().hex().ljust(64, "0")[:64], recipe, FP32.hash)


def output(sqnr_db=30.0, **parts):
    return OutputError(
        **{
            "name": "y", "tensor": "z", "stage": "before softmax", "elements": 3600,
            "max_absolute": 0.5, "mean_absolute": 0.0004, "p99_absolute": 0.3,
            "max_relative": None, "mean_relative": None, "relative_floor": 1e-3, "rmse": 0.05,
            "sqnr_db": sqnr_db, "cosine": 0.99999, "kl": None, "top1_agreement": 0.99,
            "top5_agreement": None, "beyond_both": 0.01, "beyond_sum": 0.02, "atol": 1e-2,
            "rtol": 1e-2,
        }
        | parts
    )  # fmt: skip


def label_metrics(drop=0.014, interval=(0.004, 0.024), **parts):
    reference = 0.986
    return LabelMetrics(
        **{
            "samples": 360, "top1": reference - drop, "top5": None, "reference_top1": reference,
            "reference_top5": None, "drop": drop, "drop_interval": Interval(*interval),
        }
        | parts
    )  # fmt: skip


def node_error(name, effect, sqnr_db=30.0, **parts):
    return NodeError(
        **{
            "node": name, "op": "Conv", "tensor": f"{name}:0", "sqnr_db": sqnr_db,
            "own_sqnr_db": None, "effect": effect,
            "effect_interval": Interval(effect - 0.05, effect + 0.05), "certain": effect > 0.05,
            "rmse": 0.01, "keep": (name,),
        }
        | parts
    )  # fmt: skip


def accuracy(model=None, **parts):
    return Accuracy(
        **{
            "model": model or converted("int8"),
            "reference": "digits (fp32) on ONNX Runtime",
            "reference_model": FP32,
            "data": DataRef(words="digits", hash="ff" * 32, samples=360),
            "arithmetic": "as run",
            "provider": "CPUExecutionProvider",
            "plan": None,
            "outputs": (output(),),
            "labels": label_metrics(),
            "environment": making.environment(),
        }
        | parts
    )


def point(recipe="int8", batch=1, ms=1.0, **parts):
    """A point that ran on the CPU, with an accuracy."""
    model = FP32 if recipe == "fp32" else converted(recipe)
    latencies = [ms * f for f in (1, 1.02, 0.98, 1.01, 0.99, 1, 1.03, 0.97, 1, 1)]
    run = RunConfig(batch=batch)
    return making.point(
        **{
            "model": model,
            "run": run,
            "plan": making.plan(model=model, plan_bytes=5000, weight_bytes=4096),
            "measurement": making.measurement(latencies, model=model, batch=batch, run=run),
            "accuracy": accuracy(model),
        }
        | parts
    )


def emulated(recipe="fp16", **parts):
    """A point whose accuracy was emulated, and which this CPU cannot time."""
    model = converted(recipe)
    found = accuracy(model, arithmetic="emulated", labels=label_metrics(0.0, (-0.002, 0.003)))
    note = "this CPU computes FP16 as FP32"
    return point(recipe, **{"measurement": None, "accuracy": found, "note": note} | parts)


def built(recipe="int8", plan_bytes=1600, weight_bytes=1100, build=RTX):
    """A plan of TensorRT-RTX, not run."""
    model = FP32 if recipe == "fp32" else converted(recipe)
    plan = making.plan(model=model, config=build, plan_bytes=plan_bytes, weight_bytes=weight_bytes)
    return making.point(model=model, build=build, run=RunConfig(), plan=plan, measurement=None)


def refused(recipe="bf16"):
    failure = Failure("unsupported", "The CPU has no BF16 convolution.", "")
    return point(recipe, plan=None, measurement=None, accuracy=None, failure=failure)
