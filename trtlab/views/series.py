"""Which points one line or one group of bars may join: those that differ in their batch alone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from trtlab.record import Contents, Environment, Measurement, Source
from trtlab.spec import BuildConfig, Shape
from trtlab.units import text_from_bytes, text_from_shape

_NO_MATTER = {"trtlab", "onnx"}
"""Packages whose versions change no measurement."""


@dataclass(frozen=True, slots=True)
class Series:
    """What the points of one line share; a field added here splits lines, it never joins them.

    Attributes:
        hash: What tells models apart, so that of unknown ones no two share a line.
        shapes: Input name and shape in words, the batch axis as N.
        machine: Identity of the machine; ``device`` is the name of what ran.
        conditions: Name and words of whatever else ``compare`` asks to be equal.
        repeat: 0 for the first point of these settings at a batch, 1 for the next.
    """

    name: str
    hash: str
    recipe: str
    build: BuildConfig
    provider: str
    streams: int
    threads: int | None
    activation_cap_bytes: int | None
    quick: bool
    seed: int
    batched: bool
    shapes: tuple[tuple[str, str], ...]
    contents: Contents
    source: Source
    machine: str
    device: str
    conditions: tuple[tuple[str, str], ...]
    repeat: int = 0

    def words(self) -> dict[str, str]:
        """Return each setting in short words."""
        cap, level = self.activation_cap_bytes, self.build.optimization_level
        return {
            "recipe": self.recipe.upper(),
            "backend": self.build.backend,
            "provider": self.provider.removesuffix("ExecutionProvider"),
            "streams": f"{self.streams} stream" + "s" * (self.streams > 1),
            "threads": _threads(self.threads),
            "level": "default level" if level is None else str(level),
            "cap": "no cap" if cap is None else f"cap {text_from_bytes(cap)}",
            "quick": "quick" if self.quick else "full windows",
            "seed": f"seed {self.seed}",
            "batched": "" if self.batched else "no batch axis",
            "contents": self.contents,
            "repeat": f"run {self.repeat + 1}",
        }


def series_of(measurements: Sequence[Measurement]) -> dict[Series, list[Measurement]]:
    """Group points into lines, each by rising batch with at most one point a batch."""
    grouped: dict[Series, list[Measurement]] = {}
    for m in sorted(measurements, key=lambda m: (m.batch is None, m.batch or 0)):
        key = _key(m)
        while any(point.batch == m.batch for point in grouped.get(key, ())):
            key = replace(key, repeat=key.repeat + 1)
        grouped.setdefault(key, []).append(m)
    return grouped


def labels(series: Iterable[Series]) -> dict[Series, str]:
    """Name every line by what sets it apart from the others; its precision always."""
    every = {s: s.words() for s in series}
    several_names = len({s.name for s in every}) > 1
    several_machines = len({s.machine for s in every}) > 1
    named: dict[Series, str] = {}
    for s, words in every.items():
        model = told_apart(
            s.name, s.hash, [(o.name, o.hash) for o in every if o.recipe == s.recipe]
        )
        parts = [model] if several_names or model != s.name else []
        parts += [
            text
            for word, text in words.items()
            if word == "recipe" or _differs(word, every.values())
        ]
        same_model = [dict(o.shapes) for o in every if (o.hash, o.batched) == (s.hash, s.batched)]
        parts += [f"{n} {text}" for n, text in s.shapes if _differs(n, same_model)]
        if several_machines:
            parts.append(told_apart(s.device, s.machine, [(o.device, o.machine) for o in every]))
        same_machine = [dict(o.conditions) for o in every if o.machine == s.machine]
        parts += [text for word, text in s.conditions if _differs(word, same_machine)]
        parts += ["recorded"] * (s.source == "recorded")
        text = " ".join(", ".join(part for part in parts if part).split())
        number, named[s] = 1, text
        while list(named.values()).count(named[s]) > 1:  # words are rounded: two may read alike
            number += 1
            named[s] = f"{text} ({number})"
    return named


def told_apart(name: str, identity: str, others: Iterable[tuple[str, str]]) -> str:
    """Return ``name``, with the start of its identity if one of the others shares the name."""
    same_name = {identity, *(i for n, i in others if n == name)}
    return name if len(same_name) == 1 else f"{name} ({identity[:6]})"


def _threads(threads: int | None) -> str:
    return "default threads" if threads is None else f"{threads} thread" + "s" * (threads > 1)


def _differs(word: str, several: Iterable[Mapping[str, str]]) -> bool:
    return len({words.get(word) for words in several}) > 1


def _key(m: Measurement) -> Series:
    e = m.environment
    on_cpu = m.provider.startswith("CPU")
    return Series(
        name=m.model.name,
        hash=m.model.hash or m.plan or _hash_of_samples(m),
        recipe=m.model.recipe,
        build=m.build,
        provider=m.provider,
        streams=m.run.streams,
        threads=m.run.threads,
        activation_cap_bytes=m.run.activation_cap_bytes,
        quick=m.run.quick,
        seed=m.run.seed,
        batched=m.batch is not None,
        shapes=_shapes(m),
        contents=m.contents,
        source=m.source,
        machine=e.machine or "",
        device=(e.cpu if on_cpu or e.gpu is None else e.gpu) or "machine not known",
        conditions=_conditions(e),
    )


def _hash_of_samples(m: Measurement) -> str:
    samples = b"".join(window.latencies_ns.to_bytes() for window in m.windows)
    return hashlib.sha256(samples).hexdigest()


def _shapes(m: Measurement) -> tuple[tuple[str, str], ...]:
    """The batch axis is N: the first one, unless the run gave that input another first size."""

    def text(name: str, shape: Shape) -> str:
        own = name in m.run.shapes and shape[:1] != (m.batch,)
        return text_from_shape(shape if m.batch is None or own else ("N", *shape[1:]))

    return tuple((name, text(name, shape)) for name, shape in sorted(m.shapes.items()))


def _conditions(e: Environment) -> tuple[tuple[str, str], ...]:
    """What ``trtlab.environment.differences`` looks at, beside the machine."""
    versions = sorted((n, f"{n} {v}") for n, v in e.packages.items() if n not in _NO_MATTER)
    return (
        ("cores", "cores not known" if e.cores is None else f"{e.cores} cores"),
        ("gpu", e.gpu or "no GPU"),
        ("driver", f"driver {e.driver}" if e.driver else "no driver"),
        ("os", e.os or "system not known"),
        *versions,
    )
