"""The themes: every meaning can be read, and none needs colour to be told from another."""

from __future__ import annotations

from itertools import combinations

import pytest
from textual.color import Color
from textual.theme import Theme

from mmtui.app import MmtuiApp
from mmtui.model.looks import keep_theme, kept_theme, theme_file
from mmtui.screens.main import MainScreen
from mmtui.themes import THEMES, TOKEN_CSS
from mmtui.views.lines import TOKENS
from mmtui.views.marks import GLYPHS

FILLS = ("selected", "block", "pmd", "done")
"""Tokens that give a background alone, on which any text may stand."""
PAIRS = {"alarm": ("on-violation", "violation"), "current": ("on-current", "current")}
PAIRS["pmdedge"] = ("on-pmd", "pmd")
"""Tokens with both colours."""
SHAPES = ("cursor", "blockedge")
"""Tokens that swap the colours, or only draw a shape."""
TEXT = [token for token in TOKENS if token not in (*FILLS, *PAIRS, *SHAPES)]
COLOURED = [theme for theme in THEMES if not theme.ansi]
OTHERS = ["nord", "textual-light", "ansi-dark"]

DEUTERANOPIA = (
    (0.367322, 0.860646, -0.227968),
    (0.280085, 0.672501, 0.047413),
    (-0.011820, 0.042940, 0.968881),
)
PROTANOPIA = (
    (0.152286, 1.052583, -0.204868),
    (0.114503, 0.786281, 0.099216),
    (-0.003882, -0.048116, 1.051998),
)
"""What eyes without one kind of cones see of linear RGB (Machado, Oliveira, Fernandes 2009)."""


@pytest.mark.parametrize("theme", COLOURED, ids=lambda theme: theme.name)
def test_every_meaning_can_be_read(theme: Theme) -> None:
    wanted = 7.0 if theme.name == "mmtui-high-contrast" else 4.5
    colours = {name.removeprefix("mm-"): value for name, value in theme.variables.items()}
    grounds = [theme.background, theme.surface, theme.panel, *(colours[fill] for fill in FILLS)]
    texts = [theme.foreground, *(colours[token] for token in TEXT)]
    pairs = [(text, ground) for text in texts for ground in grounds]
    pairs += [(colours[text], colours[ground]) for text, ground in PAIRS.values()]
    faint = [pair for pair in pairs if contrast(pair[0] or "", pair[1] or "") < wanted]
    assert not faint


MEANINGS = [
    *combinations(("violation", "changed", "window", "ok"), 2),
    *combinations(("block", "pmd", "selected"), 2),
    ("write", "read"),
    ("excl", "cont"),
    ("bar", "violation"),
]
"""Tokens that stand beside each other and say different things."""


@pytest.mark.parametrize("seen", [DEUTERANOPIA, PROTANOPIA], ids=["deuteranopia", "protanopia"])
def test_colour_blind_eyes_tell_meanings_apart(seen: tuple[tuple[float, ...], ...]) -> None:
    (theme,) = (theme for theme in THEMES if theme.name == "mmtui-cvd")
    near = [
        (one, other)
        for one, other in MEANINGS
        if distance(theme.variables[f"mm-{one}"], theme.variables[f"mm-{other}"], seen) < 10
    ]
    assert not near


def distance(one: str, other: str, seen: tuple[tuple[float, ...], ...]) -> float:
    """How far apart two colours look: the distance in CIE Lab, of which 2.3 can just be seen."""
    pairs = zip(_lab(one, seen), _lab(other, seen), strict=True)
    return sum((a - b) ** 2 for a, b in pairs) ** 0.5


def _lab(colour: str, seen: tuple[tuple[float, ...], ...]) -> tuple[float, float, float]:
    linear = linear_rgb(colour)
    sums = (sum(m * p for m, p in zip(row, linear, strict=True)) for row in seen)
    r, g, b = (min(1.0, max(0.0, total)) for total in sums)
    x = (0.4124 * r + 0.3576 * g + 0.1805 * b) / 0.9505
    y = 0.2126 * r + 0.7152 * g + 0.0722 * b
    z = (0.0193 * r + 0.1192 * g + 0.9505 * b) / 1.089
    fx, fy, fz = (t ** (1 / 3) if t > 0.008856 else 7.787 * t + 16 / 116 for t in (x, y, z))
    return 116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)


def contrast(one: str, other: str) -> float:
    """The contrast ratio of WCAG 2."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    linear = linear_rgb(colour)
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def linear_rgb(colour: str) -> list[float]:
    parts = [part / 255 for part in Color.parse(colour).rgb]
    return [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]


def test_every_token_has_a_style() -> None:
    assert all(f"pane--{token} " in TOKEN_CSS for token in TOKENS)


def test_every_mark_has_a_glyph() -> None:
    assert len(set(GLYPHS.values())) == len(GLYPHS)


@pytest.mark.parametrize("name", [theme.name for theme in THEMES] + OTHERS)
async def test_every_theme_can_be_used(name: str) -> None:
    app = MmtuiApp("3", "ryan-v2")
    async with app.run_test(size=(80, 24)) as pilot:
        app.theme = name
        await pilot.press("v")
        await pilot.pause()
        assert app.theme == name


async def test_no_colour_means_no_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    app = MmtuiApp("3", "ryan-v2")
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("v")
        await pilot.pause()
        assert app.ansi_color
        assert isinstance(app.screen, MainScreen)
        folios = app.screen.frame.panes["folios"]
        assert folios.token_style("alarm").reverse
        assert folios.token_style("cursor").reverse


MARKS = {
    "violation": "bold",
    "changed": "underline",
    "window": "italic",
    "alarm": "reverse",
    "current": "reverse",
    "block": "reverse",
    "pmd": "reverse",
    "selected": "underline",
    "done": "underline",
    "cursor": "reverse",
    "dim": "dim",
    "strong": "bold",
}
"""Attributes that say it where there are no colours of our own."""


async def test_the_terminal_s_own_colours_have_attributes_beside_them() -> None:
    app = MmtuiApp("3", "ryan-v2")
    async with app.run_test(size=(80, 24)) as pilot:
        app.theme = "mmtui-terminal"
        await pilot.pause()
        await pilot.pause()
        assert isinstance(app.screen, MainScreen)
        folios = app.screen.frame.panes["folios"]
        styles = {token: folios.token_style(token) for token in MARKS}
        assert all(getattr(styles[token], name) for token, name in MARKS.items())
        colours = [style.color for style in styles.values() if style.color is not None]
        assert all(colour.triplet is None for colour in colours)


async def test_a_theme_is_remembered() -> None:
    app = MmtuiApp("3", "ryan-v2")
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("T")
        await pilot.pause()
        chosen = app.theme
        assert chosen == THEMES[1].name
    assert MmtuiApp("3").theme == kept_theme() == chosen
    assert [path.name for path in theme_file().parent.glob(".theme*")] == []


@pytest.mark.parametrize("text", ["", "no-such-theme", "\x1b[31m", "x" * 5000])
def test_a_theme_that_cannot_be_had_is_left(text: str) -> None:
    theme_file().parent.mkdir(parents=True)
    theme_file().write_text(text)
    assert MmtuiApp("3").theme == THEMES[0].name


def test_the_environment_comes_before_what_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    keep_theme("mmtui-light")
    monkeypatch.setenv("MMTUI_THEME", "mmtui-cvd")
    assert MmtuiApp("3").theme == "mmtui-cvd"
