import re
from dataclasses import asdict
from typing import get_args

import plotly.graph_objects as go
import pytest

from trtlab.record import Family
from trtlab.views.theme import (
    FONT_PX,
    HEAT,
    KINDS,
    PRECISION,
    TINT,
    TOKENS,
    badge,
    css,
    template,
)

THEMES = ("light", "dark")


def luminance(colour: str) -> float:
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """The contrast ratio of WCAG 2."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_contrast_of_black_on_white_is_21():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("token", ["t1", "t2", "t3", "acc", "ok", "bad", "warn"])
def test_text_can_be_read_on_every_surface(theme, token):
    tokens = asdict(TOKENS[theme])
    for surface in ("bg", "sub", "raised"):
        assert contrast(tokens[token], tokens[surface]) >= 4.5, surface


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize(
    ("text", "surface"), [("on_acc", "acc"), ("bad", "bad_bg"), ("warn", "warn_bg")]
)
def test_text_can_be_read_on_its_own_colour(theme, text, surface):
    tokens = asdict(TOKENS[theme])
    assert contrast(tokens[text], tokens[surface]) >= 4.5


@pytest.mark.parametrize("theme", THEMES)
def test_marks_and_borders_stand_out(theme):
    tokens = TOKENS[theme]
    marks = {name: style.colour(theme) for name, style in PRECISION.items()}
    marks["border"] = tokens.line2
    for name, colour in marks.items():
        for surface in (tokens.bg, tokens.raised):
            assert contrast(colour, surface) >= 3, name


def test_every_precision_differs_without_its_colour():
    looks = [(style.marker, style.dash) for style in PRECISION.values()]
    assert len(set(looks)) == len(looks)
    for style in PRECISION.values():
        go.Scatter(marker_symbol=style.marker, line_dash=style.dash)


@pytest.mark.parametrize("theme", THEMES)
def test_template_suits_plotly_and_has_no_small_text(theme):
    figure = go.Figure(layout={"template": go.layout.Template(template(theme))})
    assert figure.layout.template.layout.paper_bgcolor == "rgba(0,0,0,0)"
    sizes = list(font_sizes(template(theme)))
    assert sizes
    assert min(sizes) >= FONT_PX >= 12
    assert template(theme)["layout"]["xaxis"]["tickfont"]["color"] == TOKENS[theme].t3


def font_sizes(node, inside: str = ""):
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "size" and "font" in inside:
                yield value
            yield from font_sizes(value, key)
    elif isinstance(node, list):
        for value in node:
            yield from font_sizes(value, inside)


def test_stylesheet_has_no_small_text_and_stays_in_its_scope():
    sheet = css()
    assert all(float(px) >= 12 for px in re.findall(r"font(?:-size)?:(?:\w+ )?([\d.]+)px", sheet))
    selectors = re.findall(r"(?:^|\})\s*([^@{}]+)\{", sheet, flags=re.MULTILINE)
    assert selectors
    for selector in ",".join(selectors).split(","):
        assert selector.strip().startswith(".trtlab"), selector
    assert "@media print" in sheet
    assert "//" not in sheet


@pytest.mark.parametrize("word", ["measured", "builder", "estimated", "recorded"])
def test_badge_says_its_word_to_everybody(word):
    long, short = badge(word), badge(word, short=True)
    for text in (long, short):
        assert f'aria-label="{word}: ' in text
        assert f'title="{word}: ' in text
    assert f" {word}</span>" in long
    assert f" {word}</span>" not in short
    assert f"trtlab-{word}" in short


@pytest.mark.parametrize("theme", THEMES)
def test_kinds_of_fusion_stand_out_as_marks(theme):
    tokens = TOKENS[theme]
    marks = {name: style.colour(theme) for name, style in KINDS.items()} | {"heat": HEAT[theme]}
    for name, colour in marks.items():
        for surface in (tokens.bg, tokens.raised):
            assert contrast(colour, surface) >= 3, name


def test_every_family_of_layers_has_a_look_of_its_own():
    assert set(KINDS) == {*get_args(Family), "removed"}
    for theme in THEMES:
        looks = [(style.colour(theme), style.form) for style in KINDS.values()]
        assert len(set(looks)) == len(looks)


def blend(colour: str, surface: str, share: float) -> str:
    pairs = [[int(c[at : at + 2], 16) for c in (colour, surface)] for at in (1, 3, 5)]
    return "#" + "".join(f"{round(a * share + b * (1 - share)):02x}" for a, b in pairs)


@pytest.mark.parametrize("theme", THEMES)
def test_text_can_be_read_on_every_tint(theme):
    tokens = TOKENS[theme]
    assert contrast(tokens.t1, blend(HEAT[theme], tokens.bg, TINT["heat"])) >= 4.5
    for name, style in KINDS.items():
        tint = blend(style.colour(theme), tokens.bg, TINT[theme])
        assert contrast(tokens.t1, tint) >= 4.5, name
        assert contrast(tokens.t2, tint) >= 4.5, name
