"""The five factors of a run as tiles, and the run in one sentence: pure functions of records."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

from trtlab.analysis.factors import Beside, Change, Factor, Pair, Value, doubts
from trtlab.record import Run, Verdict
from trtlab.spec import TENSORRT
from trtlab.stats import Interval
from trtlab.units import N_A, text_from_bytes, text_from_file_size, text_from_ms, text_from_number
from trtlab.views.cards import card, sentence
from trtlab.views.precision_sentences import BACKENDS, points_text
from trtlab.views.theme import badge

_UNITS: dict[Factor, str] = {
    "throughput": "inf/s",
    "efficiency": "inf/J",
    "latency_ms": "ms",
    "top1": "% top-1",
    "sqnr_db": "dB SQNR",
}
_WIDTH, _HEIGHT, _EDGE, _LABEL = 128, 36, 6, 18
"""Of the whiskers in pixels: drawn at their shown size, so that no text shrinks; they fit into the
narrowest tile, which has 150 with its padding."""
_ACTIVATIONS: Factor = "activation_bytes"
_PEAK: Factor = "peak_memory_bytes"
PIN = "Pin a run as A to compare."


def tiles(pair: Pair) -> str:
    """Return throughput, efficiency, latency, accuracy and memory as HTML."""
    run = pair.b
    accuracy: Factor = "top1"
    if run.accuracy is not None and run.accuracy.labels is None:
        accuracy = "sqnr_db"
    several = (
        _sampled("Throughput", "throughput", pair),
        _sampled("Efficiency", "efficiency", pair),
        _sampled("Latency p50", "latency_ms", pair),
        _sampled("Accuracy", accuracy, pair),
        _memory(pair),
    )
    return f"<div class='trtlab-tiles'>{''.join(several)}</div>"


def _sampled(title: str, factor: Factor, pair: Pair) -> str:
    found, run = pair.beside(factor), pair.b
    b = found.b
    if b.value is None:
        return _not_there(title, factor, b.reason)
    number, unit = number_text(factor, b.value)
    body = _value(number, unit)
    body += f"<p class='trtlab-hint'>{html.escape(_spread(factor, b, run))}</p>"
    if factor in ("throughput", "latency_ms") and doubts(run):
        body += _doubt(run)
    if found.change is not None and found.change.difference is not None:
        body += whiskers(factor, found)
    return card(title, body + _delta(factor, found), b.origin, extra="trtlab-tile")


def _memory(pair: Pair) -> str:
    """The builder's activations, the host's peak beside them; each with its own badge."""
    run, built, peak = pair.b, pair.beside(_ACTIVATIONS), pair.beside(_PEAK)
    is_built = built.b.value is not None
    first, factor = (built, _ACTIVATIONS) if is_built else (peak, _PEAK)
    if first.b.value is None:
        return _not_there("Memory", _PEAK, first.b.reason)
    number, unit = number_text(factor, first.b.value)
    words = [_built_for(run)] if is_built else ["peak of the host above the empty process, 1 run"]
    a = None if first.a is None else first.a.value
    its = "" if a is None else f"A {text_from_bytes(a)} · "
    words.append(its + ("exact, no interval" if is_built else "one reading, no interval"))
    body = _value(number, unit)
    body += "".join(f"<p class='trtlab-hint'>{html.escape(text)}</p>" for text in words)
    if is_built:
        text = text_from_bytes(peak.b.value)
        said = f"Host peak {text} {badge('measured', short=True)}"
        if peak.b.value is None:
            why = peak.b.reason if run.measurement else "not run"
            said = f"Host peak {N_A}: {html.escape(why)}"
        body += f"<p class='trtlab-hint'>{said}</p>"
    body += _delta(factor, first)
    return card("Memory", body, first.b.origin, extra="trtlab-tile")


def _built_for(run: Run) -> str:
    largest = run.setup.batches[2] if run.setup.batches else None
    return "engine activations" + ("" if largest is None else f", batch ≤ {largest}")


def _value(number: str, unit: str) -> str:
    unit = html.escape(unit)
    return f"<p class='trtlab-value'>{html.escape(number)} <span>{unit}</span></p>"


def _doubt(run: Run) -> str:
    caveats = run.measurement.caveats if run.measurement else ()
    title = html.escape(" ".join(c.message for c in caveats), quote=True)
    words = html.escape(", ".join(doubts(run)))
    return f"<p class='trtlab-warn' title='{title}'>⚠ {words}</p>"


_EMPTY: dict[Factor, tuple[str, str]] = {
    "throughput": ("inferences per second", ""),
    "efficiency": ("inferences per joule", ""),
    "latency_ms": ("time of one call", ""),
    "top1": ("accuracy", "Give a folder with labelled samples."),
    "sqnr_db": ("error of the outputs", ""),
    "peak_memory_bytes": ("memory", ""),
}


def _not_there(title: str, factor: Factor, reason: str) -> str:
    what, fill = _EMPTY[factor]
    text = f"{what}: {reason}"
    text += "" if text.endswith((".", "!", "?")) else "."
    body = "<p class='trtlab-value trtlab-none'>n/a</p>"
    body += f"<p class='trtlab-hint'>{html.escape(text)}</p>"
    if fill:
        body += f"<p class='trtlab-hint'>{html.escape(fill)}</p>"
    return card(title, body, extra="trtlab-tile")


# Numbers in words


def number_text(factor: Factor, value: float) -> tuple[str, str]:
    """Return a number and its unit, apart."""
    if factor in ("activation_bytes", "plan_bytes", "peak_memory_bytes"):
        sized = text_from_file_size if factor == "plan_bytes" else text_from_bytes
        number, _, unit = sized(value).partition(" ")
        return number, unit
    if factor == "latency_ms":
        number, _, unit = text_from_ms(value).rpartition(" ")
        return number, unit
    if factor == "top1":
        return f"{100 * value:.1f}", _UNITS[factor]
    if factor == "sqnr_db":
        return f"{value:.1f}".replace("-", "−"), _UNITS[factor]
    return text_from_number(value), _UNITS[factor]


def ends_text(factor: Factor, interval: Interval, value: float, between: str = ", ") -> str:
    """Return an interval's ends in the unit of its value: ``3.91, 4.06``."""
    scale = 1.0
    if factor == "latency_ms":  # as the value: microseconds below 0.1 ms, seconds from 10 s
        unit = number_text(factor, value)[1]
        scale = {"µs": 1e3, "s": 1e-3}.get(unit, 1.0)
    if factor == "top1":
        return between.join(f"{100 * end:.1f}" for end in interval)
    return between.join(text_from_number(end * scale) for end in interval)


def _spread(factor: Factor, value: Value, run: Run) -> str:
    n = "" if value.n is None else f"n\N{NO-BREAK SPACE}{value.n:,}"
    if factor == "efficiency":
        return "one reading, no interval"
    if factor == "sqnr_db":
        return f"worst output, no labels · {n}"
    known, at = value.interval, value.value
    if known is None or at is None:
        return f"95 %: {N_A}, too few samples · {n}"
    text = f"95 %: {ends_text(factor, known, at, ' … ')} · {n}"
    m = run.measurement
    return f"{text} · {m.contents}" if factor == "latency_ms" and m else text


def change_text(factor: Factor, change: Change) -> tuple[str, str]:
    """Return a difference with its sign, and its interval: ``−42 %`` and ``[−44, −40]``."""
    if factor == "top1" and change.difference is not None:
        ends = "" if change.interval is None else _ends(points_text(e) for e in change.interval)
        return points_text(change.difference), f"{ends} points".strip()
    if factor == "sqnr_db" and change.difference is not None:
        return f"{change.difference:+.1f}".replace("-", "−"), "dB"
    if change.ratio is None:
        return N_A, ""
    spans = change.ratio_interval
    return f"{percent_text(change.ratio)} %", "" if spans is None else _ends(
        percent_text(end) for end in spans
    )


def _ends(texts: Iterable[str]) -> str:
    return f"[{', '.join(texts)}]"


def percent_text(ratio: float) -> str:
    """Print B / A as the change in percent, with its sign: ``−42``."""
    percent = 100 * (ratio - 1)
    digits = 1 if abs(percent) < 9.95 else 0
    text = f"{abs(percent):,.{digits}f}"
    if float(text.replace(",", "")) == 0:
        return "0"
    return f"{'−' if percent < 0 else '+'}{text}"


def arrow(change: Change) -> str:
    """``▲`` where B is more, ``▼`` where it is less, ``=`` where they cannot be told apart."""
    if change.verdict == "not distinguishable" or not change.difference:
        return "="
    return "▲" if change.difference > 0 else "▼"


COLOURS: dict[Verdict, str] = {"better": "trtlab-ok", "worse": "trtlab-bad"}
"""A verdict's colour; what is not claimed has none."""


def _delta(factor: Factor, found: Beside) -> str:
    if found.a is None or found.change is None:
        return f"<p class='trtlab-delta trtlab-hint'>{PIN}</p>"
    change = found.change
    if change.verdict == "unknown":
        text = html.escape(f"not comparable: {change.reason}")
        return f"<p class='trtlab-delta trtlab-hint'>vs A: {text}</p>"
    number, span = change_text(factor, change)
    colour = COLOURS.get(change.verdict, "")
    return (
        f"<p class='trtlab-delta'><strong class='{colour}'>{arrow(change)} {number}</strong>"
        f" <span class='trtlab-span'>{span}</span><br>vs A: {html.escape(_word(change))}</p>"
    )


def _word(change: Change) -> str:
    if change.verdict == "exact":
        if not change.difference:
            return change.reason or "the same"
        return "more" if change.difference > 0 else "less"
    if change.verdict == "doubtful":
        return "doubtful, a run was disturbed"
    if change.verdict == "no interval":
        return change.reason or "no interval, no claim"
    return change.verdict


# Whiskers


def whiskers(factor: Factor, found: Beside) -> str:
    """Draw A and B with their intervals on one scale: hollow and filled squares."""
    pairs = [("A", found.a), ("B", found.b)]
    known = [(letter, v) for letter, v in pairs if v is not None and v.value is not None]
    ends = [e for _, v in known for e in (v.interval or ()) + (v.value or 0.0,)]
    low, high = min(ends), max(ends)
    room = _WIDTH - 2 * _EDGE - _LABEL

    def x(value: float) -> float:
        part = 0.5 if high == low else (value - low) / (high - low)
        return round(_EDGE + part * room, 1)

    parts = [f"<path class='trtlab-rule' d='M0 {_HEIGHT - 1}H{_WIDTH - _LABEL}'/>"]
    words = []
    for row, (letter, v) in enumerate(known):
        at, y = v.value or 0.0, 9 + 16 * row
        number, unit = number_text(factor, at)
        words.append(f"{letter} {number} {unit}")
        if v.interval is not None:
            a, b = (x(end) for end in v.interval)
            parts.append(f"<path d='M{a} {y}H{b}M{a} {y - 4}V{y + 4}M{b} {y - 4}V{y + 4}'/>")
            words[-1] += f", 95 % {ends_text(factor, v.interval, at, ' to ')}"
        fill = "trtlab-hollow" if letter == "A" else "trtlab-full"
        parts.append(f"<rect class='{fill}' x='{x(at) - 4}' y='{y - 4}' width='8' height='8'/>")
        parts.append(f"<text x='{_WIDTH - 11}' y='{y + 4}'>{letter}</text>")
    label = html.escape("; ".join(words), quote=True)
    return (
        f"<svg class='trtlab-whiskers' role='img' aria-label='{label}' width='{_WIDTH}'"
        f" height='{_HEIGHT}' viewBox='0 0 {_WIDTH} {_HEIGHT}'>{''.join(parts)}</svg>"
    )


# In one sentence


def in_one_sentence(pair: Pair) -> str:
    """Return what may be said of a run against its baseline, as HTML."""
    return sentence(" ".join(_said(pair)), "In one sentence.")


def _said(pair: Pair) -> Sequence[str]:
    run = pair.b
    name, plan, m = run.recipe.upper(), run.plan, run.measurement
    if run.failure is not None:
        return (f"{name} was not built: {run.failure.message}",)
    said = []
    if m is None:
        why = run.why_no("measurement")
        start = "" if why.startswith(f"{name} was not run") else f"{name} was not run: "
        said.append(f"{start}{_stop(why)}")
    else:
        said.append(_stop(_speed(pair)))
    said += _loss(run)
    is_engine = plan is not None and run.ran is not None and plan.hash == run.ran.hash
    if plan is not None and not is_engine and plan.config.backend in TENSORRT:
        who = BACKENDS.get(plan.config.backend, plan.config.backend)
        said.append(
            f"The {who} engine for {plan.target_text} was built but not run here: "
            "its speed is not known."
        )
    return said


def _speed(pair: Pair) -> str:
    run, baseline = pair.b, pair.a
    m, name = run.measurement, run.recipe.upper()
    if m is None:
        return ""
    time = text_from_ms(m.median_ms)
    start = f"At batch {m.batch} on {_place(run)}," if m.batch else f"On {_place(run)},"
    a = baseline.measurement if baseline else None
    if baseline is None or a is None or pair.why_times_apart or baseline.source != run.source:
        doubt = ", but the run was disturbed" if m.stable is False else ""
        return f"{start} {name} answers in {time}{doubt}"
    change = pair.beside("latency_ms").change
    verdict = change.verdict if change else "unknown"
    other = baseline.recipe.upper()
    at = "" if a.batch == m.batch else f" of batch {a.batch}"
    if other == name:
        other = "A"
    its = text_from_ms(a.median_ms)
    if verdict in ("better", "worse"):
        word = "faster" if verdict == "better" else "slower"
        return f"{start} {name} answers in {time} instead of {other}'s {its}{at}: {word}"
    if verdict == "doubtful":
        return (
            f"{start} {name} answered in {time} and {other} in {its}{at}, but a run was "
            "disturbed: neither is called faster"
        )
    if verdict == "not distinguishable":
        return f"{start} {name} ({time}) and {other} ({its}{at}) are not distinguishable"
    return f"{start} {name} answers in {time} and {other} in {its}{at}: too few samples for more"


def _place(run: Run) -> str:
    m = run.measurement
    if m is None:
        return "this machine"
    on_cpu = m.provider.startswith("CPU")
    device = m.environment.cpu if on_cpu else m.environment.gpu
    if run.source == "here":
        return "this CPU" if on_cpu else f"this GPU ({device})" if device else "this GPU"
    return f"{device or 'a machine that is not named'} (recorded)"


def _loss(run: Run) -> list[str]:
    """Say what the labels tell of a loss to the reference; nothing of the reference itself."""
    found = run.accuracy
    if found is None or found.labels is None or found.model == found.reference_model:
        return []
    low, high = found.labels.drop_interval
    if low <= 0 <= high:
        return [f"No loss of accuracy that {found.labels.samples:,} samples can show."]
    reference = found.reference_model.recipe.upper() if found.reference_model else "the reference"
    word = "drops" if low > 0 else "rises"
    by = points_text(abs(found.labels.drop)).removeprefix("+")
    return [f"Top-1 {word} by {by} points against {reference}."]


def _stop(text: str) -> str:
    return text if text.endswith(".") else f"{text}."
