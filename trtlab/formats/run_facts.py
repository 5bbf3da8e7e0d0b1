"""What is known of a recorded run beside its times: GPU, versions, settings → ``RunFacts``.

trtexec prints them into its log, in sections of ``Key: value``. trt-engine-explorer (TREx) keeps
the same sections as JSON: ``*.profile.metadata.json``, ``*.build.metadata.json``, and CUDA's list
of devices as ``*.metadata.json``. The identity of a GPU (its UUID) is nobody's business: it is
never taken.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from trtlab.spec import Shape

_SECTIONS = {
    "model_options",
    "build_options",
    "inference_options",
    "device_information",
    "performance_summary",
}
_HEADING = re.compile(r"=== ([A-Z][A-Za-z ]*) ===")
_PAIR = re.compile(r"([^:]{1,60}): ?(.*)")
_SHAPE_SET = re.compile(r"Input binding for (.+) with dimensions (\d{1,18}(?:x\d{1,18})*) ")
_SHAPES = re.compile(r"(\d{1,18}(?:x\d{1,18})*)")
_WARM_UP = re.compile(r"\+ ?(\d{1,9}(?:\.\d{1,9})?) ?ms warm up")
_VERSION = re.compile(r"\d{1,3}(?:\.\d{1,4}){1,3}")
_SWITCH = {"Enabled": True, "Disabled": False}


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What files tell of a run; None is what they do not tell.

    Attributes:
        target: Its compute capability, such as ``sm80``.
        tensorrt: Version of TensorRT.
        precisions: Those that the builder might choose from, lowest first: ``int8+fp16+fp32``.
        shapes: Input shapes of the run by name; may lack some.
        warm_up_ms: How long trtexec warmed up before it counted.
    """

    gpu: str | None = None
    target: str | None = None
    tensorrt: str | None = None
    precisions: str | None = None
    cuda_graph: bool | None = None
    transfers: bool | None = None
    streams: int | None = None
    warm_up_ms: float | None = None
    shapes: Mapping[str, Shape] = field(default_factory=dict)

    def completed(self, other: RunFacts) -> RunFacts:
        """Return these facts, and where they tell nothing what ``other`` tells."""
        missing = {f.name for f in fields(self) if getattr(self, f.name) in (None, {})}
        return replace(self, **{name: getattr(other, name) for name in missing})


def facts_of(data: Any) -> RunFacts | None:
    """Return the facts in the decoded JSON of TREx; None if it has not the form of one."""
    if isinstance(data, dict) and not _SECTIONS.isdisjoint(data):
        return _of_sections({k: v for k, v in data.items() if isinstance(v, dict)})
    return _of_devices(data) if isinstance(data, list) else None


def facts_of_log(lines: list[str]) -> RunFacts:
    """Return the facts in the messages of trtexec's log, one a line and without its prefix."""
    sections: dict[str, dict[str, Any]] = {}
    shapes: dict[str, Shape] = {}
    inside: dict[str, Any] = {}
    for line in lines:
        if heading := _HEADING.fullmatch(line.strip()):
            inside = sections.setdefault(heading[1].lower().replace(" ", "_"), {})
        elif found := _SHAPE_SET.match(line):
            shapes[found[1]] = _shape(found[2])
        elif found := _PAIR.fullmatch(line):
            inside.setdefault(found[1].strip(), found[2].strip())
    return replace(_of_sections(sections), shapes=shapes)


def _of_sections(sections: Mapping[str, Mapping[str, Any]]) -> RunFacts:
    build, run, device = (
        sections.get(name, {})
        for name in ("build_options", "inference_options", "device_information")
    )
    version = _text(device.get("TensorRT version"))
    precisions = _text(build.get("Precision")) or ""
    warm_up = _WARM_UP.search(_text(run.get("Duration")) or "")
    return RunFacts(
        gpu=_text(device.get("Selected Device")),
        target=_target(device.get("Compute Capability")),
        tensorrt=version if version and _VERSION.fullmatch(version) else None,
        precisions="+".join(reversed(precisions.lower().split("+"))) or None,
        cuda_graph=_switch(run.get("CUDA Graph")),
        transfers=_switch(run.get("Data transfers")),
        streams=_count(run.get("Inference Streams", run.get("Streams"))),
        warm_up_ms=float(warm_up[1]) if warm_up else None,
        shapes=_run_shapes(run),
    )


def _of_devices(devices: list[Any]) -> RunFacts | None:
    """Return the one GPU of CUDA's list; of several it is not known which one ran."""
    if not devices or not all(isinstance(d, dict) and "ComputeCapability" in d for d in devices):
        return None
    if len(devices) > 1:
        return RunFacts()
    capability = devices[0]["ComputeCapability"]
    if isinstance(capability, list):
        capability = ".".join(str(part) for part in capability[:2] if isinstance(part, int))
    return RunFacts(gpu=_text(devices[0].get("Name")), target=_target(capability))


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _switch(value: Any) -> bool | None:
    return _SWITCH.get(value) if isinstance(value, str) else None


def _count(value: Any) -> int | None:
    text = str(value) if isinstance(value, str | int) else ""
    return int(text) if re.fullmatch(r"\d{1,3}", text) else None


def _target(capability: Any) -> str | None:
    """Return ``sm80`` for 8.0, written as a number or as text."""
    said = str(capability) if isinstance(capability, str | float) else ""
    found = re.fullmatch(r"(\d{1,2})\.(\d)", said)
    return f"sm{found[1]}{found[2]}" if found else None


def _shape(text: str) -> Shape:
    return tuple(int(size) for size in text.split("x"))


def _run_shapes(run: Mapping[str, Any]) -> dict[str, Shape]:
    """Return the shape that TREx kept: of several inputs it keeps the last alone."""
    said = _text(run.get("Input inference shape")) or ""
    name, equals, dims = said.rpartition("=")
    return {name: _shape(dims)} if equals and name and _SHAPES.fullmatch(dims) else {}
