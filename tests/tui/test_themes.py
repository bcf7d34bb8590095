"""The themes: every meaning can be read, and none needs colour to be told from another."""

from __future__ import annotations

import pytest
from textual.color import Color

from mmtui.app import MmtuiApp
from mmtui.screens.main import MainScreen
from mmtui.themes import THEMES, TOKEN_CSS
from mmtui.views.lines import TOKENS
from mmtui.views.marks import GLYPHS

TEXT = [
    "dim",
    "strong",
    "changed",
    "violation",
    "window",
    "ok",
    "write",
    "read",
    "excl",
    "cont",
    "key",
    "keyword",
    "string",
    "number",
]
OTHERS = ["nord", "textual-light", "ansi-dark"]


@pytest.mark.parametrize("theme", THEMES, ids=lambda theme: theme.name)
@pytest.mark.parametrize("token", TEXT)
def test_every_meaning_can_be_read(theme, token: str) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    wanted = 7.0 if theme.name == "mmtui-high-contrast" else 4.5
    colour = theme.variables[f"mm-{token}"]
    for background in (theme.background, theme.surface, theme.panel):
        assert contrast(colour, background) >= wanted
    assert contrast(theme.variables["mm-on-violation"], theme.variables["mm-violation"]) >= wanted


def contrast(one: str, other: str) -> float:
    """The contrast ratio of WCAG 2."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    parts = [part / 255 for part in Color.parse(colour).rgb]
    linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


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
