"""Colours, type and marks of every view, in a light and a dark form.

All text and mark colours here keep their contrast in both themes (a test computes it), so a
view takes its colours from this module and from nowhere else.
"""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any, Literal

Theme = Literal["light", "dark"]
Provenance = Literal["measured", "builder", "estimated", "recorded"]

FONT = "system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif"
"""JupyterLab's own UI font stack, spelled out so that a saved picture has it too."""
MONO = "ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
FONT_PX = 12
"""The smallest text anywhere, also inside charts."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """The colours of one theme for text, lines and surfaces."""

    bg: str
    sub: str
    raised: str
    t1: str
    t2: str
    t3: str
    line2: str
    line: str
    acc: str
    on_acc: str
    ok: str
    bad: str
    bad_bg: str
    warn: str
    warn_bg: str


LIGHT = Tokens(
    bg="#ffffff",
    sub="#f4f6f8",
    raised="#ffffff",
    t1="#17212a",
    t2="#44515d",
    t3="#5c6873",
    line2="#78858f",
    line="#d3dae1",
    acc="#1857b8",
    on_acc="#ffffff",
    ok="#1d6b3a",
    bad="#a8201a",
    bad_bg="#fcebea",
    warn="#7a4b00",
    warn_bg="#fdf3e0",
)
DARK = Tokens(
    bg="#12171c",
    sub="#1a2128",
    raised="#1e262e",
    t1="#eef2f5",
    t2="#c0cad3",
    t3="#9dabb7",
    line2="#74828f",
    line="#34404b",
    acc="#7fb2ff",
    on_acc="#0b1520",
    ok="#7fd6a0",
    bad="#ff9b92",
    bad_bg="#3a1c1b",
    warn="#f2c26b",
    warn_bg="#33270f",
)
TOKENS: Mapping[Theme, Tokens] = MappingProxyType({"light": LIGHT, "dark": DARK})


@dataclass(frozen=True, slots=True)
class PrecisionStyle:
    """How one precision looks; marker and dash carry it where colour cannot.

    Attributes:
        light: Colour on the light background.
        dark: Colour on the dark background.
        marker: Plotly's marker symbol.
        dash: Plotly's line dash.
    """

    light: str
    dark: str
    marker: str
    dash: str

    def colour(self, theme: Theme) -> str:
        """The colour for a theme."""
        return self.dark if theme == "dark" else self.light


PRECISION: Mapping[str, PrecisionStyle] = MappingProxyType(
    {
        "fp32": PrecisionStyle("#132333", "#a7b8d4", "square", "solid"),
        "tf32": PrecisionStyle("#0c64a6", "#2189e0", "triangle-up", "2px,3px"),
        "fp16": PrecisionStyle("#21a096", "#93f3e0", "diamond", "7px,3px"),
        "bf16": PrecisionStyle("#224800", "#55880f", "triangle-down", "7px,3px,2px,3px"),
        "int8": PrecisionStyle("#de7512", "#fec371", "circle", "solid"),
        "fp8": PrecisionStyle("#c53f49", "#f47a6a", "cross", "3px,3px"),
        "int4": PrecisionStyle("#802a5e", "#c8389a", "star", "10px,3px"),
    }
)


@dataclass(frozen=True, slots=True)
class KindStyle:
    """How one kind of fused layer looks: a tint of the colour inside, the colour as border.

    Attributes:
        light: Colour on the light background.
        dark: Colour on the dark background.
        form: Tells kinds apart without the colour, for those that are no plain box.
    """

    light: str
    dark: str
    form: Literal["filled", "outlined", "pill", "dashed pill", "dashed", "hatched"] = "filled"

    def colour(self, theme: Theme) -> str:
        """The colour for a theme."""
        return self.dark if theme == "dark" else self.light


KINDS: Mapping[str, KindStyle] = MappingProxyType(
    {
        "conv chain": KindStyle("#2d55a1", "#87afee"),
        "matrix product": KindStyle("#bc69fd", "#a449d5"),
        "pointwise chain": KindStyle("#42a184", "#358467"),
        "kept 1:1": KindStyle("#243039", "#dde5f0"),
        "data movement": KindStyle("#8a4d00", "#eda451", "pill"),
        "sync, shape": KindStyle("#6a7680", "#8b98a4", "dashed pill"),
        "not named": KindStyle("#6a7680", "#8b98a4", "outlined"),
        "opaque": KindStyle("#243039", "#dde5f0", "hatched"),
        "removed": KindStyle("#a8201a", "#ff9b92", "dashed"),
    }
)
"""By the family of a layer, and for nodes that no layer runs."""

HEAT: Mapping[Theme, str] = MappingProxyType({"light": "#c2410c", "dark": "#fb923c"})
"""The far end of a scale of values; its near end is the background."""

TINT: Mapping[str, float] = MappingProxyType({"light": 0.13, "dark": 0.20, "heat": 0.5})
"""How much of a colour is in the fill of a box, by theme; at most, on a scale of values."""


def mixed(colour: str, ground: str, part: float) -> str:
    """Mix ``part`` of a colour into the ground; both and the result as ``#rrggbb``."""
    pairs = [[int(c[at : at + 2], 16) for c in (colour, ground)] for at in (1, 3, 5)]
    return "#" + "".join(f"{round(a * part + b * (1 - part)):02x}" for a, b in pairs)


def template(theme: Theme) -> dict[str, Any]:
    """A plotly template for a theme, as the plain dict that plotly.js takes."""
    t = TOKENS[theme]
    axis = {
        "automargin": True,
        "gridcolor": t.line,
        "linecolor": t.line2,
        "showline": True,
        "tickcolor": t.line2,
        "tickfont": {"color": t.t3, "size": FONT_PX},
        "title": {"font": {"color": t.t3, "size": FONT_PX}, "standoff": 8},
        "zeroline": False,
    }
    bar_of_colours = {
        "outlinewidth": 0,
        "thickness": 12,
        "tickfont": {"color": t.t3, "size": FONT_PX},
        "title": {"font": {"color": t.t3, "size": FONT_PX}},
    }
    return {
        "data": {
            "scatter": [
                {
                    "error_x": {"thickness": 1.5, "width": 4},
                    "error_y": {"thickness": 1.5, "width": 4},
                    "line": {"width": 2},
                    "marker": {"size": 9},
                    "type": "scatter",
                }
            ],
            "bar": [{"marker": {"line": {"width": 0}}, "type": "bar"}],
            "heatmap": [{"colorbar": bar_of_colours, "type": "heatmap"}],
        },
        "layout": {
            "annotationdefaults": {"arrowcolor": t.t2, "font": {"color": t.t2, "size": FONT_PX}},
            "coloraxis": {"colorbar": bar_of_colours},
            "colorway": [style.colour(theme) for style in PRECISION.values()],
            "font": {"color": t.t1, "family": FONT, "size": FONT_PX},
            "hoverlabel": {
                "align": "left",
                "bgcolor": t.raised,
                "bordercolor": t.line2,
                "font": {"color": t.t1, "family": FONT, "size": FONT_PX},
                "namelength": -1,
            },
            "legend": {
                "bgcolor": "rgba(0,0,0,0)",
                "font": {"color": t.t2, "size": FONT_PX},
                "orientation": "h",
                "x": 0,
                "xanchor": "left",
                "y": 1,
                "yanchor": "bottom",
            },
            "margin": {"b": 40, "l": 48, "pad": 0, "r": 12, "t": 60},
            "modebar": {
                "activecolor": t.acc,
                "bgcolor": "rgba(0,0,0,0)",
                "color": t.t3,
            },
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "separators": ".,",
            "title": {
                "font": {"color": t.t1, "size": 14, "weight": 700},
                "pad": {"t": 8},
                "x": 0,
                "xanchor": "left",
                "xref": "paper",
                "y": 1,
                "yanchor": "top",
                "yref": "container",
            },
            "xaxis": axis,
            "yaxis": axis,
        },
    }


def graph_palette() -> dict[str, Any]:
    """The colours of a drawn fusion, by theme, as plain data for a page."""
    return {
        theme: {
            **asdict(tokens),
            "kinds": {name: style.colour(theme) for name, style in KINDS.items()},
            "precisions": {n.upper(): style.colour(theme) for n, style in PRECISION.items()},
            "heat": HEAT[theme],
            "tint": TINT[theme],
            "most": TINT["heat"],
        }
        for theme, tokens in TOKENS.items()
    }


_BADGES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "measured": ("●", "this machine ran it"),
        "builder": ("□", "reported by the builder, nothing ran"),
        "estimated": ("∿", "a bound or model of ours"),
        "recorded": ("◉", "measured elsewhere, loaded from a file"),
    }
)


def badge(provenance: Provenance, short: bool = False) -> str:
    """The mark that says where a number comes from, as HTML.

    Args:
        provenance: Where the number comes from.
        short: Only the glyph, for a column head; the word is then in the label and tooltip.
    """
    glyph, meaning = _BADGES[provenance]
    text = html.escape(f"{provenance}: {meaning}", quote=True)
    word = "" if short else f" {provenance}"
    form = " data-short" if short else ""
    return (
        f'<span class="trtlab-badge trtlab-{provenance}"{form} role="img" aria-label="{text}"'
        f' title="{text}"><span aria-hidden="true">{glyph}{word}</span></span>'
    )


def css() -> str:
    """The stylesheet of tables, badges and cards, for everything inside ``.trtlab``."""
    dark = ".trtlab[data-theme=dark],.trtlab.trtlab-dark"  # a widget can only set a class
    return (
        f".trtlab{{{_variables(LIGHT)}}}\n"
        f"{dark}{{{_variables(DARK)}}}\n"
        f"{_RULES}"
        f"@media print{{\n.trtlab,{dark}{{{_variables(LIGHT)}}}\n"
        ".trtlab .trtlab-card,.trtlab tr{break-inside:avoid}\n"
        ".trtlab thead{display:table-header-group}\n}\n"
    )


def _variables(tokens: Tokens) -> str:
    names = Tokens.__dataclass_fields__
    return ";".join(f"--{name.replace('_', '-')}:{getattr(tokens, name)}" for name in names)


# The nth-child rules match all rows: they undo the host's striping, which is as specific.
_RULES = f"""\
.trtlab{{background:var(--bg);color:var(--t1);font:13px/1.45 {FONT};\
font-variant-numeric:tabular-nums;overflow-wrap:break-word}}
.trtlab code,.trtlab pre{{background:none;color:inherit;font:12.5px/1.45 {MONO}}}
.trtlab a{{color:var(--acc)}}
.trtlab :focus-visible{{outline:3px solid var(--acc);outline-offset:1px}}
.trtlab table{{border:0;border-collapse:collapse;color:var(--t1);font-size:12.5px;margin:0}}
.trtlab th,.trtlab td{{border:0;border-bottom:1px solid var(--line);height:26px;\
max-width:none;padding:2px 8px;text-align:left;vertical-align:middle;white-space:normal}}
.trtlab th{{color:var(--t2);font-weight:600}}
.trtlab thead th{{border-bottom-color:var(--line2)}}
.trtlab .trtlab-number{{text-align:right;white-space:nowrap}}
.trtlab thead .trtlab-number{{white-space:normal}}
.trtlab tbody tr:nth-child(n){{background:none}}
.trtlab tbody tr:hover{{background:var(--sub)}}
.trtlab .trtlab-card{{background:var(--raised);border:1px solid var(--line);border-radius:3px;\
margin:0 0 10px;padding:10px 12px}}
.trtlab .trtlab-card>h3{{color:var(--t1);font-size:14px;font-weight:700;margin:0 0 6px}}
.trtlab .trtlab-hint{{color:var(--t3);font-size:12px}}
.trtlab .trtlab-ok{{color:var(--ok)}}
.trtlab .trtlab-bad{{color:var(--bad)}}
.trtlab .trtlab-warn{{color:var(--warn)}}
.trtlab .trtlab-badge{{border:1px solid var(--line2);border-radius:8px;color:var(--t2);\
display:inline-block;font-size:12px;font-weight:400;line-height:16px;padding:0 6px;\
white-space:nowrap}}
.trtlab .trtlab-estimated{{border-style:dashed}}
.trtlab .trtlab-recorded{{border-style:double;border-width:3px;line-height:12px}}
.trtlab .trtlab-badge[data-short]{{border:0;line-height:16px;padding:0 1px}}
"""
