"""The drawn fusion: its layout, its first picture, moving in it, and crossings against ``dot``.

The pages are the offline ones, in headless Chromium with software rendering. Layout is all that
Python does to a record: places and texts. The first draw is what the page tells: from its module's
start (reading the scene included) to the end of its first drawing. A frame is the time between two
animation frames while the wheel is turned in each; 16.7 ms is the screen's own beat.

Crossings: pairs of edges that cross as straight segments and have no end in common, counted
geometrically by one function for both. Ours go through the points that are drawn. Those of
graphviz ``dot`` (default splines, boxes of our sizes, no groups) go through the point where the
spline passes each rank between its ends, which is where dot has its dummy nodes.
"""

from __future__ import annotations

import bisect
import random
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path

from benchmarks.figures import Figure, median_figure, seconds
from trtlab.model.types import Graph, Node, Tensor
from trtlab.record import Edge, EngineLayer, Fate, Fusion, Group, LayerTensor, ModelRef
from trtlab.verbs.fusion import fusion
from trtlab.views.graph.scene import scene
from trtlab.views.graph.sides import Side, Sides, arrange
from trtlab.views.pages.fusion_page import fusion_page

SIZES = {300: 0.3, 3_000: 0.8, 10_000: 2.0}
"""Nodes, and the seconds that layout and first draw may take."""
ROUNDS = 5
FRAMES = 60
NETWORKS = ("squeezenet", "resnet50", "inception_v1", "inception_v2", "densenet121", "shufflenet")
FLAGS = ["--no-sandbox", "--disable-gpu"]

Point = tuple[float, float]
Line = tuple[frozenset[str], list[Point]]
"""An edge's ends and the points of its polyline."""


def figures() -> list[Figure]:
    """Draw three sizes, move in the largest, count crossings of six networks."""
    return [*_drawing(), *_crossing()]


def network(count: int) -> Fusion:
    """Return a made-up fusion of about ``count`` nodes in blocks of two to four branches."""
    chance = random.Random(count)
    nodes: list[Node] = []
    layers: list[EngineLayer] = []
    groups: list[Group] = []

    def add(path: str, ops: Sequence[str], reads: list[str]) -> str:
        held, inputs = [], reads
        for op in ops:
            nodes.append(Node(f"{path}/{op}", op, tuple(inputs), (f"{path}/{op}",)))
            held.append(nodes[-1].name)
            inputs = [nodes[-1].name]
        tensors = [tuple(LayerTensor(t, "float32", None) for t in ts) for ts in (reads, inputs)]
        layers.append(EngineLayer(f"layer{len(layers)}", "fused", *tensors, stream=0))
        family = chance.choice(("conv chain", "pointwise chain", "kept 1:1"))
        groups.append(
            Group(tag=f"G{len(layers)}", family=family, nodes=tuple(held), text="Fused.")
        )
        return inputs[0]

    last, block = "x", 0
    while len(nodes) < count:
        path, ends = f"stage{block // 8}/block{block}", []
        for branch in range(chance.randint(2, 4)):
            end = last
            for step in range(chance.randint(1, 3)):
                ops = ("Conv", "BatchNormalization", "Relu")
                end = add(f"{path}/{branch}_{step}", ops, [end])
            ends.append(end)
        last = add(f"{path}/join", ("Concat",), ends + [last] * chance.randint(0, 1))
        block += 1
    tensors = {n.name: Tensor(n.name, "float32", ("N", 64, 56, 56)) for n in nodes}
    owners = {name: number for number, group in enumerate(groups) for name in group.nodes}
    return Fusion(
        model=ModelRef("generated", "0" * 64, "fp32", None),
        backend="generated",
        target="none",
        graph=Graph("generated", tuple(nodes), tensors, ("x",), (last,)),
        graph_source="model",
        layers=tuple(layers),
        groups=tuple(groups),
        edges=tuple(Edge(name, layer, "metadata") for name, layer in owners.items()),
        fates=tuple(
            Fate(name, "in layer", (layer,), "metadata") for name, layer in owners.items()
        ),
        explanations={n.name: f"{n.name} was fused into one layer." for n in nodes},
    )


def _drawing() -> list[Figure]:
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    found = []
    with sync_playwright() as driver, tempfile.TemporaryDirectory() as folder:
        browser = driver.chromium.launch(executable_path=chromium, args=FLAGS)
        for size, limit in SIZES.items():
            record = network(size)
            path = Path(folder) / f"{size}.html"
            path.write_text(fusion_page(record), encoding="utf-8")
            times = []
            for _ in range(ROUNDS):
                page = browser.new_page(viewport={"width": 1280, "height": 860})
                page.goto(path.as_uri())
                view = page.locator('.trtlab-graph[data-ready="1"]')
                drawn = float(view.get_attribute("data-draw-ms") or "nan") / 1000
                times.append(seconds(partial(scene, record)) + drawn)
                if size != max(SIZES) or len(times) < ROUNDS:
                    page.close()
            name = f"layout + first draw, {size:,} nodes"
            found.append(median_figure(name, times, "s", limit))
        for name, setting in {
            "unfolded": "Fold or open all blocks",
            "in view as a whole": "Fit the whole graph",
        }.items():
            page.get_by_role("button", name=setting).click()
            for way in ("pan", "zoom"):
                frames = page.evaluate(_MOVE, [way == "zoom", FRAMES])
                found.append(median_figure(f"frame of a {way}, {size:,} nodes {name}", frames,
                                           "ms", 33.0))  # fmt: skip
        browser.close()
    return found


_MOVE = """async ([zoom, count]) => {
  const canvas = document.querySelector(".stage canvas");
  const { x, y } = canvas.getBoundingClientRect();
  const frames = [];
  const frame = () => new Promise(requestAnimationFrame);
  let last = await frame();
  for (let step = 0; step < count; step++) {
    const deltaY = zoom ? (step % 20 < 10 ? -30 : 30) : step % 20 < 10 ? 90 : -90;
    canvas.dispatchEvent(new WheelEvent("wheel",
      { deltaY, ctrlKey: zoom, clientX: x + 200, clientY: y + 300, cancelable: true }));
    const now = await frame();
    frames.push(now - last);
    last = now;
  }
  return frames;
}"""


def _crossing() -> list[Figure]:
    found = []
    for name in NETWORKS:
        sides = arrange(fusion(f"zoo:{name}", backend="tensorrt_rtx", target="sm89"))
        for word, side in (("before", sides.before), ("after", sides.after)):
            ours, theirs = crossings(lines_of(sides, side)), crossings(dot_lines(sides, side))
            label = f"crossings, {name} {word} (dot {theirs})"
            found.append(Figure(label, ours, "", theirs * 1.1 + 5, len(side.wires)))
    return found


def _ends(side: Side) -> list[tuple[str, str]]:
    """What each wire leads from and to: nodes or layers, or boxes at the network's border."""
    return [
        tuple(
            f"box{box}" if number is None else f"item{number}"
            for box, number in zip(wire.boxes, (wire.source, wire.target), strict=True)
        )
        for wire in side.wires
    ]  # type: ignore[return-value]


def lines_of(sides: Sides, side: Side) -> list[Line]:
    """Return the wires of a side as they are drawn, but for their curves."""
    tops, y = [], 0.0
    for height in sides.rank_heights:
        tops.append(y)
        y += height + 30
    lines = []
    for ends, path in zip(_ends(side), side.paths, strict=True):
        points = []
        for x, rank, below in path:
            passing = below < 0
            points += [(x, tops[rank] + (0 if passing else below))]
            points += [(x, tops[rank] + sides.rank_heights[rank])] if passing else []
        lines.append((frozenset(ends), points))
    return lines


def dot_lines(sides: Sides, side: Side) -> list[Line]:
    """Return the same edges as graphviz places them."""
    edges = dict.fromkeys(_ends(side))
    names = dict.fromkeys(name for edge in edges for name in edge)
    text = "digraph { node [shape=box, fixedsize=true, width=1.5, height=0.4];\n"
    text += "".join(f"{name};\n" for name in names)
    text += "".join(f"{a} -> {b};\n" for a, b in edges) + "}"
    said = subprocess.run(
        ["dot", "-Tplain"], input=text, text=True, capture_output=True, check=True
    )
    rows = [line.split() for line in said.stdout.replace("\\\n", "").splitlines()]
    places = {row[1]: (float(row[2]), -float(row[3])) for row in rows if row[0] == "node"}
    ranks = sorted({y for _, y in places.values()})
    lines = []
    for row in rows:
        if row[0] == "edge":
            count = int(row[3])
            numbers = [float(number) for number in row[4 : 4 + 2 * count]]
            spline = [(x, -y) for x, y in zip(numbers[::2], numbers[1::2], strict=True)]
            between = _through(spline, ranks, places[row[1]][1], places[row[2]][1])
            points = [places[row[1]], *between, places[row[2]]]
            lines.append((frozenset(row[1:3]), points))
    return lines


def _through(
    spline: Sequence[Point], ranks: Sequence[float], begin: float, end: float
) -> list[Point]:
    """Where a spline of cubic pieces passes the ranks between its ends."""
    samples = []
    for at in range(0, len(spline) - 1, 3):
        a, b, c, d = spline[at : at + 4]
        for step in range(33):
            t = step / 32
            s = 1 - t
            weights = (s**3, 3 * s * s * t, 3 * s * t * t, t**3)
            samples.append(tuple(
                sum(w * p[axis] for w, p in zip(weights, (a, b, c, d), strict=True))
                for axis in (0, 1)
            ))  # fmt: skip
    samples.sort(key=lambda point: point[1])
    heights = [y for _, y in samples]
    low, high = sorted((begin, end))
    passed = [rank for rank in ranks if low + 1e-6 < rank < high - 1e-6]
    nearest = [
        (samples[min(bisect.bisect_left(heights, rank), len(samples) - 1)][0], rank)
        for rank in passed
    ]
    return nearest if begin < end else nearest[::-1]


def crossings(lines: Iterable[Line]) -> int:
    """Count proper crossings of segments whose edges have no end in common."""
    segments = [(*sorted((p, q), key=lambda point: point[1]), ends)
                for ends, points in lines for p, q in pairwise(points)]  # fmt: skip
    segments.sort(key=lambda segment: segment[0][1])
    found, active = 0, []
    for p, q, ends in segments:
        active = [other for other in active if other[1][1] > p[1]]
        found += sum(not ends & other[2] and _cross((p, q), other[:2]) for other in active)
        active.append((p, q, ends))
    return found


def _cross(one: Sequence[Point], two: Sequence[Point]) -> bool:
    """Whether two segments cross inside both."""
    return _apart(one, two) and _apart(two, one)


def _apart(line: Sequence[Point], points: Sequence[Point]) -> bool:
    """Whether two points lie clearly on different sides of a line."""
    (ax, ay), (bx, by) = line
    a, b = ((bx - ax) * (y - ay) - (by - ay) * (x - ax) for x, y in points)
    return min(a, b) < -1e-6 and max(a, b) > 1e-6
