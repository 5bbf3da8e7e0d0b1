"""Small valid runs: an engine of TensorRT-RTX beside a run of ONNX Runtime, one recorded whole."""

from dataclasses import replace

from tests import accuracies, making
from trtlab.record import BuilderMemory, Failure, Run, RunLine
from trtlab.spec import BuildConfig, RunConfig, Setup, profile_of

ENGINE, HOST = "e1" * 32, "b2" * 32


def setup(**parts):
    return Setup(
        **{
            "precision": "int8",
            "batches": (1, 8, 16),
            "batch": 8,
            "workspace_bytes": 2**28,
            "builder": "tensorrt_rtx",
            "target": "sm89",
            "quick": True,
        }
        | parts
    )


def engine(model=making.MODEL, asked=None, **parts):
    """A plan of TensorRT-RTX, as the setup asks for it."""
    asked = asked or setup()
    return making.plan(
        **{
            "hash": ENGINE,
            "model": model,
            "config": BuildConfig(
                backend="tensorrt_rtx",
                target=("sm89",),
                profiles=(profile_of((making.X,), asked.batches),),
                workspace_bytes=asked.workspace_bytes,
                tf32=asked.tf32,
            ),
            "memory": BuilderMemory(activation=2**20, weights=2**16),
            "environment": making.environment(
                packages={"trtlab": "0.1.0", "tensorrt-rtx-cu13": "1.7.1.116"}
            ),
        }
        | parts
    )


def run(recipe="int8", ms=1.0, asked=None, **parts):
    """A run of a model from the zoo: built by TensorRT-RTX, run by ONNX Runtime."""
    asked = asked or setup(precision=recipe)
    made = making.MODEL if recipe == "fp32" else accuracies.converted(recipe)
    latencies = [ms * f for f in (1, 1.02, 0.98, 1.01, 0.99, 1, 1.03, 0.97, 1, 1)]
    how = RunConfig(batch=asked.batch, quick=asked.quick)
    m = making.measurement(latencies, model=made, run=how, batch=asked.batch)
    interval = m.median_interval_ms
    line = RunLine(
        model=making.MODEL,
        origin="zoo:digits",
        made=made,
        setup=asked,
        latency_ms=m.median_ms,
        latency_low_ms=interval.low,
        latency_high_ms=interval.high,
        n=m.n,
        environment=making.environment(),
    )
    return Run(
        **{
            "line": line,
            "plan": engine(made, asked),
            "ran": making.plan(hash=HOST, model=made),
            "measurement": m,
            "profile": making.layer_profile(model=made, run=how, batch=asked.batch),
            "accuracy": accuracies.accuracy(made, plan=HOST),
        }
        | parts
    )


def relined(made, **parts):
    """The same run with other words in its line."""
    return replace(made, line=replace(made.line, **parts))


def failed(message="The workspace limit of 8 MiB is too small.", recipe="int8"):
    made = run(recipe)
    line = replace(
        made.line,
        latency_ms=None,
        latency_low_ms=None,
        latency_high_ms=None,
        n=None,
        failure=Failure("workspace", message, "Set it to 32 MiB."),
    )
    return Run(line=line)


def on_gpu(**parts):
    """A run of full TensorRT, built and run on a GPU."""
    asked = setup(precision="fp32", builder="tensorrt", runner="tensorrt", target=None)
    made = run("fp32", asked=asked)
    config = replace(made.plan.config, backend="tensorrt", target=("current",))
    plan = replace(made.plan, config=config)
    m = replace(made.measurement, build=config, plan=plan.hash, contents="compute")
    return replace(made, **{"plan": plan, "ran": plan, "measurement": m, "profile": None} | parts)
