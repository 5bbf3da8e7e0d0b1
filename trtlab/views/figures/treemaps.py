"""Treemaps of a plan's layers.

Areas are times where layers were timed, else an estimate; below the figure stands which. A kind of
layer is told by its colour, which the legend names, and in the hover.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, get_args

import plotly.graph_objects as go

from trtlab.analysis.shares import (
    Amounts,
    Measure,
    Tree,
    amounts,
    best_measure,
    block_paths,
    by_block,
    by_type,
    share,
)
from trtlab.record import Family, Fusion
from trtlab.views.figures.hovers import MEASURES, amount_line, layer_hover, plain
from trtlab.views.graph.colour_by import share_text, time_reason
from trtlab.views.graph.labels import layer_title, short_operator
from trtlab.views.sentences import counted, whole_text
from trtlab.views.theme import FONT_PX, KINDS, TINT, TOKENS, Theme, mixed

_LABEL = 22
_AREA_PX, _CHARACTER_PX = 150_000, 7
"""What a treemap has room for: half its area, since tiles are not square. A name that would not
fit into its tile gives way to the tag."""


def types_figure(fusion: Fusion, theme: Theme) -> go.Figure:
    """Draw the layers by their type, named by the blocks that they lie in."""
    return _treemap(fusion, by_type(fusion), _places(fusion), theme)


def blocks_figure(fusion: Fusion, theme: Theme) -> go.Figure:
    """Draw the layers by the block that they lie in, named by what they do."""
    return _treemap(fusion, by_block(fusion), _works(fusion), theme)


def _treemap(fusion: Fusion, tree: Tree, title: Callable[[int], str], theme: Theme) -> go.Figure:
    measure = best_measure(fusion)
    tiles = _Tiles(fusion, measure, title, theme)
    tiles.add(tree, "")
    fig = go.Figure(tiles.trace())
    _add_kinds(fig, [fusion.groups[n].family for n in tiles.shown], theme)
    blank = {"showgrid": False, "showline": False, "showticklabels": False, "ticks": ""}
    fig.update_xaxes(title=_area_text(fusion, measure), fixedrange=True, **blank)
    fig.update_yaxes(fixedrange=True, **blank)
    return fig.update_layout(
        height=460, margin={"l": 8, "r": 8}, uniformtext={"minsize": FONT_PX, "mode": "hide"}
    )


class _Tiles:
    """The columns of a treemap: a tile for each name and each layer that has an area."""

    def __init__(
        self,
        fusion: Fusion,
        measure: Measure | None,
        title: Callable[[int], str],
        theme: Theme,
    ) -> None:
        self.fusion, self.measure, self.title, self.theme = fusion, measure, title, theme
        self.whole = amounts(fusion, range(len(fusion.layers)))
        self.columns: dict[str, list[Any]] = {
            name: [] for name in ("id", "parent", "label", "text", "value", "hover", "layers",
                                  "fill", "line", "pattern")
        }  # fmt: skip
        self.shown: list[int] = []

    def add(self, tree: Tree, parent: str) -> None:
        """Add a name with all that is under it; with a single layer it is that layer's tile."""
        found = amounts(self.fusion, tree.every())
        if not self._value(found) and parent:
            return
        if parent and not tree.inside and len(tree.layers) == 1:
            self._add_layer(tree.layers[0], parent, tree.name)
            return
        tokens = TOKENS[self.theme]
        part = f"  {self._share_text(found)}" if parent else ""
        identity = f"{parent}/{len(self.columns['id'])}"
        self._tile(
            id=identity,
            parent=parent,
            label=plain(tree.name, 2 * _LABEL) + part,
            text="",
            value=0,  # plotly adds up what is inside
            hover=f"<b>{plain(tree.name)}</b><br>{self._sum_text(found)}",
            layers=list(found.layers),
            fill=tokens.bg if parent.count("/") % 2 else tokens.sub,
            line=tokens.line2,
            pattern="",
        )
        for number in tree.layers:
            self._add_layer(number, identity, self.title(number))
        for inside in tree.inside:
            self.add(inside, identity)

    def trace(self) -> go.Treemap:
        """Return the tiles as plotly takes them."""
        columns, tokens = self.columns, TOKENS[self.theme]
        return go.Treemap(
            ids=columns["id"],
            parents=columns["parent"],
            labels=columns["label"],
            text=columns["text"],
            textinfo="label+text",
            textfont={"color": tokens.t1, "size": FONT_PX},
            values=columns["value"],
            branchvalues="remainder",
            customdata=columns["layers"],
            hovertext=columns["hover"],
            hoverinfo="text",
            marker={
                "colors": columns["fill"],
                "line": {"color": columns["line"], "width": 1},
                # plotly complains of an array of colours unless both are given here.
                "pattern": {
                    "shape": columns["pattern"],
                    "bgcolor": tokens.sub,
                    "fgcolor": tokens.line,
                    "size": 8,
                },
                "pad": {"t": 22, "l": 3, "r": 3, "b": 3},
            },
            pathbar={"visible": False},
            tiling={"pad": 2},
        )

    def _tile(self, **cells: Any) -> None:
        for name, cell in cells.items():
            self.columns[name].append(cell)

    def _add_layer(self, number: int, parent: str, title: str) -> None:
        group = self.fusion.groups[number]
        found = amounts(self.fusion, [number])
        value = self._value(found)
        if not value:
            return
        self.shown.append(number)
        colour = KINDS[group.family].colour(self.theme)
        width = math.sqrt(value / (self._value(self.whole) or 1) * _AREA_PX)
        fits = (min(len(title), _LABEL) + 2) * _CHARACTER_PX <= width
        self._tile(
            id=f"layer {number}",
            parent=parent,
            label=plain(title if fits else group.tag or "+", _LABEL),
            text=self._share_text(found) if self.measure else "",
            value=value,
            hover=layer_hover(self.fusion, number),
            layers=[number],
            fill=mixed(colour, TOKENS[self.theme].bg, TINT[self.theme]),
            line=colour,
            pattern=_hatching(group.family),
        )

    def _value(self, found: Amounts) -> float | None:
        return found.of(self.measure).value if self.measure else len(found.layers)

    def _share_text(self, found: Amounts) -> str:
        if self.measure == "time" and len(found.layers) == 1:
            return share_text(self.fusion.groups[found.layers[0]].time_share)
        if self.measure is None:
            return f"{len(found.layers)} of {len(self.whole.layers)}"
        return share_text(share(found.of(self.measure), self.whole.of(self.measure)))

    def _sum_text(self, found: Amounts) -> str:
        lines = [counted(len(found.layers), "layer")]
        for measure in MEASURES:
            part = share(found.of(measure), self.whole.of(measure))
            if part is not None:
                lines.append(amount_line(self.fusion, measure, found, share_text(part)))
        return "<br>".join(lines)


def _places(fusion: Fusion) -> Callable[[int], str]:
    """Name layers by the block that they lie in, or as the builder does."""
    paths = block_paths(fusion)

    def title(number: int) -> str:
        path = paths[number] if fusion.groups[number].nodes else ()
        return "/".join(path) or _builders_name(fusion, number)

    return title


def _works(fusion: Fusion) -> Callable[[int], str]:
    """Name layers by the operator of their first node, or as the builder does."""
    ops = {node.name: short_operator(node.op) for node in fusion.graph.nodes}

    def title(number: int) -> str:
        held = [ops[node] for node in fusion.groups[number].nodes if node in ops]
        if not held:
            return _builders_name(fusion, number)
        return held[0] + (f" +{len(held) - 1}" if len(held) > 1 else "")

    return title


def _builders_name(fusion: Fusion, number: int) -> str:
    added = "" if fusion.groups[number].nodes else "+ "
    return added + layer_title(fusion.layers[number].name)


def _hatching(family: Family) -> str:
    return "/" if KINDS[family].form == "hatched" else ""


def _add_kinds(fig: go.Figure, families: Iterable[Family], theme: Theme) -> None:
    """Add a legend of the kinds: a treemap has none of its own."""
    found = Counter(families)
    for family in (f for f in get_args(Family) if found[f]):
        colour = KINDS[family].colour(theme)
        fig.add_bar(
            x=[None],
            y=[None],
            name=f"{family} ({found[family]})",
            marker={
                "color": mixed(colour, TOKENS[theme].bg, TINT[theme]),
                "line": {"color": colour, "width": 2},
                "pattern": {"shape": _hatching(family), "fgcolor": colour, "size": 4},
            },
        )
    fig.update_layout(showlegend=True, legend={"itemclick": False, "itemdoubleclick": False})


def _area_text(fusion: Fusion, measure: Measure | None) -> str:
    """Say what the areas are, where it is from and what is left out."""
    every = amounts(fusion, range(len(fusion.layers)))
    if measure is None:
        return f"area: number of layers (builder); layer times {time_reason(fusion)}"
    none = sum(amounts(fusion, [n]).of(measure).value == 0 for n in every.layers)
    unknown = every.of(measure).unknown
    left_out = [f"{counted(none, 'layer')} with 0"] * bool(none)
    left_out += [f"{counted(unknown, 'layer')} of which it is not known"] * bool(unknown)
    notes = [f"layer times {time_reason(fusion)}"] * (measure != "time")
    notes += [f"not drawn: {', '.join(left_out)}"] * bool(left_out)
    words = f"area: {whole_text(fusion, measure)}"
    return f"{words}<br>{'; '.join(notes)}" if notes else words
