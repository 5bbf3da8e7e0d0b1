"""``RunConfig``: how to run a plan while it is measured, and the shapes that follow from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from trtlab.errors import SpecError
from trtlab.model.types import Tensor, batch_axis
from trtlab.spec.build import TENSORRT, BuildConfig
from trtlab.spec.checks import Shape, whole
from trtlab.units import text_from_shape

LEAST_CAP = 2**16
"""Bytes. Seen with ONNX Runtime 1.31: caps up to 3,000 bytes are ignored, larger ones hold."""

_MOST = {"batch": 2**24, "streams": 256, "threads": 1024, "activation_cap_bytes": 2**48}
"""Largest settings: beyond them a slip of the finger is likelier than a wish."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """How to run a plan while it is measured.

    Attributes:
        batch: Size of the model's batch axis; None for a model without one, or with ``shapes``.
        shapes: Shapes by input name, for inputs with other dynamic axes.
        streams: Inferences in flight at once, each with its own bound buffers.
        threads: Threads inside one inference (ONNX Runtime: intra-op); None is the backend's
            choice.
        activation_cap_bytes: Limit of ONNX Runtime's activation arena. Weights do not count.
            Not a workspace: it changes no kernel, a run fits below it or fails.
        cuda_graph: Whether an inference is captured once and replayed as a CUDA graph; None is
            the backend's default: on for TensorRT.
        transfers: Whether latency contains the copies of inputs and outputs to and from the GPU.
        quick: Short windows (0.15 s, 5 calls), for demonstrations; the record is labelled.
        seed: Seed of the random inputs.

    Raises:
        SpecError: a value is of the wrong type, too small or beyond all reason.
    """

    batch: int | None = None
    shapes: Mapping[str, Shape] = field(default_factory=dict)
    streams: int = 1
    threads: int | None = None
    activation_cap_bytes: int | None = None
    cuda_graph: bool | None = None
    transfers: bool = False
    quick: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        for name, most in _MOST.items():
            value = getattr(self, name)
            if value is not None:
                label = name.removesuffix("_bytes").replace("_", " ").capitalize()
                whole(label, value, LEAST_CAP if name == "activation_cap_bytes" else 1, most)
        whole("Seed", self.seed, 0, 2**63 - 1)
        if self.cuda_graph not in (None, True, False) or self.transfers not in (True, False):
            raise SpecError(
                f"CUDA graph and transfers are on or off; got {self.cuda_graph!r} and "
                f"{self.transfers!r}.",
                hint="Give True or False.",
            )
        for tensor, shape in self.shapes.items():
            for size in shape:
                whole(f"Every dimension of {tensor!r}", size, 1, 2**31 - 1)


def check_backend(build: BuildConfig, run: RunConfig) -> None:
    """Refuse settings of a run that the plan's backend does not have; raises SpecError."""
    if build.backend in TENSORRT:
        for name, given in (
            ("threads", run.threads),
            ("activation cap", run.activation_cap_bytes),
        ):
            if given is not None:
                raise SpecError(
                    f"{build.backend} has no setting {name}.",
                    hint="It belongs to ONNX Runtime on the CPU.",
                )
        return
    for name, on in (("CUDA graph", run.cuda_graph), ("transfers", run.transfers)):
        if on:
            raise SpecError(
                f"{build.backend} has no setting {name}: its latency is time around the call.",
                hint="Leave it out, or build the plan with TensorRT.",
            )


def input_shapes(
    inputs: Sequence[Tensor], outputs: Sequence[Tensor], run: RunConfig
) -> tuple[dict[str, Shape], int | None]:
    """Return the shape of every input in this run, and its batch size.

    The batch is the size of the first axis that the inputs with a named first axis share, or of
    the same fixed number that all inputs and outputs begin with; otherwise it is None and an
    inference is one item.

    Raises:
        SpecError: a shape does not fit the model, or an axis has no size yet.
    """
    unknown = sorted(set(run.shapes) - {t.name for t in inputs})
    if unknown:
        raise SpecError(
            f"The model has no input called {unknown[0]!r}.",
            hint=f"Its inputs are {', '.join(repr(t.name) for t in inputs)}.",
        )
    axis = batch_axis(inputs) or _fixed_batch(inputs, outputs)
    batch = run.batch
    if batch is None and isinstance(axis, str) and not run.shapes:
        batch = 1
    if batch is not None and axis is None:
        raise SpecError(
            f"A batch of {batch} does not fit: the inputs share no batch axis.",
            hint="Give every shape in full, as in --shapes x:8x128.",
        )
    if batch is not None and isinstance(axis, int) and batch != axis:
        raise SpecError(
            f"A batch of {batch} does not fit: the model's batch is fixed at {axis}.",
            hint="Make it dynamic with trtlab.with_dynamic_batch(model) or --dynamic-batch.",
        )
    shapes = {t.name: _one_shape(t, run.shapes.get(t.name), axis, batch) for t in inputs}
    firsts = {shapes[t.name][0] for t in inputs if t.shape and t.shape[0] == axis}
    return shapes, firsts.pop() if axis is not None and len(firsts) == 1 else None


def _fixed_batch(inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> int | None:
    """Return the fixed first axis that all inputs and outputs share; others may be anything."""
    firsts = {t.shape[0] if t.shape else None for t in (*inputs, *outputs)}
    first = firsts.pop() if len(firsts) == 1 else None
    return first if isinstance(first, int) else None


def _one_shape(
    tensor: Tensor, given: Shape | None, axis: str | int | None, batch: int | None
) -> Shape:
    if tensor.shape is None:
        if given is None:
            raise SpecError(
                f"Input {tensor.name!r} has no shape in the model.",
                hint=f"Give one, as in --shapes {tensor.name}:1x3x224x224.",
            )
        return given
    if given is None:
        named = [batch if d == axis and batch is not None else d for d in tensor.shape]
        missing = [str(d) for d in named if not isinstance(d, int)]
        if missing:
            raise SpecError(
                f"Input {tensor.name!r} {text_from_shape(tensor.shape)} has axes without a size: "
                f"{', '.join(missing)}.",
                hint=f"Give its whole shape, as in --shapes {tensor.name}:1x3x224x224.",
            )
        return tuple(d for d in named if isinstance(d, int))
    fits = len(given) == len(tensor.shape) and all(
        not isinstance(want, int) or want == got
        for want, got in zip(tensor.shape, given, strict=True)
    )
    if not fits or (batch is not None and tensor.shape[0] == axis and given[0] != batch):
        raise SpecError(
            f"Shape {text_from_shape(given)} does not fit input {tensor.name!r} "
            f"{text_from_shape(tensor.shape)}"
            + (f" at batch {batch}." if batch is not None else "."),
            hint="Give one number for each axis; fixed axes must keep their size.",
        )
    return given
