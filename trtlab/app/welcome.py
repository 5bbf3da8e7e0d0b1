"""The first screen: three ways in, what this machine can do, and how to read a figure."""

from __future__ import annotations

import html

from trtlab.app.machine import Machine
from trtlab.app.state import State
from trtlab.record import RunLine
from trtlab.spec import TENSORRT
from trtlab.units import text_from_bytes, text_from_file_size
from trtlab.views.cards import button, recipe_text
from trtlab.views.theme import badge
from trtlab.zoo.catalogue import ENTRIES

MOST_EARLIER = 5
SMALL = ("digits_mobile", "digits", "squeezenet", "resnet50")
"""Networks offered first: two trained ones, and two that people know."""


def first_screen(state: State) -> str:
    """Return what is shown before the first run: the ways in, or what the open model is."""
    return _welcome(state) if state.opened is None else _opened(state)


def _opened(state: State) -> str:
    """Say what is open, and what one press will do."""
    model, graph = state.opened, state.graph
    if model is None:
        return ""
    nodes = "" if graph is None else f"{len(graph.nodes):,} nodes, "
    weights = text_from_file_size(model.weight_bytes)
    ops: dict[str, int] = {}
    for node in graph.nodes if graph else ():
        ops[node.op] = ops.get(node.op, 0) + 1
    most = sorted(ops.items(), key=lambda item: -item[1])[:8]
    told = ", ".join(f"{count} {op}" for op, count in most)
    steps = ["build the engine and list its layers, fused from your nodes"]
    if state.runner:
        steps.append("run the model: latency, throughput, memory, time per layer")
    if model.name.startswith("zoo:") and ENTRIES[model.name[4:]].labelled:
        steps.append("judge its accuracy on labelled samples")
    listed = "".join(f"<li>{html.escape(step)}</li>" for step in steps)
    off = "a job runs" if state.busy else ""
    earlier = [
        (index, line)
        for index, line in enumerate(state.history)
        if line.model.hash == model.hash and line.failure is None
    ]
    rows = "".join(
        f"<div class='trtlab-way'>{button(_line_text(line), 'recall', str(index), kind='link')}"
        f"<span class='trtlab-hint'>{(line.environment.created or '')[:16].replace('T', ' ')}"
        "</span></div>"
        for index, line in earlier[:MOST_EARLIER]
    )
    before = f"<section class='trtlab-card'><h3>Earlier runs</h3>{rows}</section>" if rows else ""
    return (
        f"<div class='trtlab-welcome'><h2>{html.escape(model.name)} is open</h2>"
        f"<p>{nodes}weights {weights}, {html.escape(model.recipe.upper())}. "
        f"{html.escape(told)}.</p>"
        "<section class='trtlab-card trtlab-first'><h3>One press will</h3>"
        f"<ol>{listed}</ol>{button('Build & measure', 'build', kind='main', off=off)}</section>"
        f"{before}{_legend()}</div>"
    )


def _line_text(line: RunLine) -> str:
    batch = "" if line.setup.batch is None else f", batch {line.setup.batch}"
    limit = line.setup.workspace_bytes
    workspace = "" if limit is None else f", workspace {text_from_bytes(limit)}"
    return f"{recipe_text(line.made.recipe)}{batch}{workspace}"


def _welcome(state: State) -> str:
    networks = "".join(_network(name) for name in SMALL)
    return (
        "<div class='trtlab-welcome'><h2>See what TensorRT makes of your network</h2>"
        "<p>Choose one. Nothing is built until you press <b>Build &amp; measure</b>; nothing "
        "leaves this machine.</p><div class='trtlab-ways'>"
        "<section class='trtlab-card trtlab-first'><h3>1 Watch the demo</h3>"
        f"<p>A filled workbench from a recorded bundle. Every figure is marked {badge('recorded')}"
        ". Then make it live.</p><ol><li>the engine beside your graph</li><li>latency and memory "
        "curves</li><li>where the time goes, what to try</li></ol>"
        f"{button('Open the demo', 'demo', kind='main')}</section>"
        f"<section class='trtlab-card'><h3>2 Try a small network</h3>{networks}"
        "<p class='trtlab-hint'>“drawn”: the weights mean nothing; accuracy is n/a.</p></section>"
        "<section class='trtlab-card'><h3>3 Open your own</h3>"
        "<label>Path<input data-change='open' data-key='own' placeholder='models/mine.onnx' "
        "aria-label='path of a model or a bundle'></label>"
        "<p class='trtlab-hint'>An .onnx file on the kernel's machine, a .trtlab bundle, or what "
        "trtexec exported (--exportLayerInfo, --exportProfile). Enter opens it.</p></section>"
        f"</div>{_machine(state.machine)}{_legend()}</div>"
    )


def _network(name: str) -> str:
    entry = ENTRIES[name]
    kind = "trained" if entry.labelled else "drawn"
    size = text_from_file_size(entry.file_bytes)
    return (
        f"<div class='trtlab-way'>{button(name, 'open', f'zoo:{name}', kind='link')}"
        f"<span class='trtlab-hint'>{size} · {kind}</span></div>"
    )


def _machine(machine: Machine | None) -> str:
    if machine is None:
        return "<p class='trtlab-hint'>Asking what this machine can do…</p>"
    rows = []
    builders = [n for n in machine.builders if n in TENSORRT]
    rows.append(
        (
            bool(builders),
            "Build engines, see fused layers and builder memory",
            ", ".join(machine.version(n) for n in builders),
            _why(machine, "tensorrt_rtx"),
        )
    )
    runners = machine.runners("onnxruntime")
    rows.append(
        (
            bool(runners),
            "Run the model: latency, throughput, memory, accuracy",
            ", ".join(machine.version(n) for n in runners),
            _why(machine, "onnxruntime"),
        )
    )
    on_gpu = [n for n in TENSORRT if machine.statuses[n].abilities["fp32"].run.can]
    reason = machine.no_gpu or _why(machine, "tensorrt")
    why = f"{reason[:1].upper()}{reason[1:].rstrip('.')}. "
    why += "Open a recording, or run this notebook on a GPU machine."
    rows.append((bool(on_gpu), "GPU time per layer, GPU latency", ", ".join(on_gpu), why))
    power = "No power reading here. Needs an NVIDIA GPU with NVML."
    rows.append((bool(machine.gpu), "Efficiency (inferences per joule)", machine.gpu, power))
    body = "".join(
        "<tr><td>"
        + ("<b class='trtlab-ok'>✓ ready</b>" if can else "<b>✕ not here</b>")
        + f"</td><td>{html.escape(what)}</td><td>{html.escape(by) if can and by else '—'}</td>"
        f"<td>{'' if can else html.escape(why)}</td></tr>"
        for can, what, by, why in rows
    )
    return (
        "<section class='trtlab-card'><h3>What this machine can do</h3>"
        "<p class='trtlab-hint'>The full check: <code>trtlab doctor</code></p>"
        "<div class='trtlab-scroll'><table><thead><tr><th scope='col'>Here</th>"
        "<th scope='col'>What you get</th><th scope='col'>With</th>"
        f"<th scope='col'>If not, why and what to do</th></tr></thead><tbody>{body}</tbody>"
        "</table></div></section>"
    )


def _why(machine: Machine, name: str) -> str:
    ability = machine.statuses[name].abilities["fp32"].build
    return "" if ability.can else f"{ability.reason} {ability.hint}"


def _legend() -> str:
    words = {
        "measured": "a machine ran it",
        "builder": "reported by the builder, nothing ran",
        "estimated": "a bound or model of ours",
        "recorded": "made elsewhere, loaded from a file",
    }
    parts = "".join(f"<span>{badge(origin)} {text}</span>" for origin, text in words.items())  # type: ignore[arg-type]
    return f"<div class='trtlab-legend'><strong>How to read a figure here</strong>{parts}</div>"
