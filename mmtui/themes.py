"""The application's own themes: how each meaning of `views.lines.TOKENS` looks.

No meaning rests on red against green: every marked state also has a glyph, and attributes
(bold, reverse, underline) that survive without colour.
"""

from __future__ import annotations

from textual.theme import BUILTIN_THEMES, Theme

__all__ = ["THEMES", "TOKEN_CSS", "token_colours"]

TOKEN_CSS = """
    & > .pane--dim { color: $mm-dim; }
    & > .pane--strong { color: $mm-strong; text-style: bold; }
    & > .pane--changed { color: $mm-changed; text-style: bold underline; }
    & > .pane--violation { color: $mm-violation; text-style: bold; }
    & > .pane--alarm { color: $mm-on-violation; background: $mm-violation; text-style: bold; }
    & > .pane--window { color: $mm-window; text-style: bold italic; }
    & > .pane--ok { color: $mm-ok; }
    & > .pane--write { color: $mm-write; text-style: bold; }
    & > .pane--read { color: $mm-read; }
    & > .pane--excl { color: $mm-excl; text-style: bold; }
    & > .pane--cont { color: $mm-cont; }
    & > .pane--current { color: $mm-on-current; background: $mm-current; text-style: bold; }
    & > .pane--selected { background: $mm-selected; }
    & > .pane--cursor { text-style: reverse; }
    & > .pane--keyword { color: $mm-keyword; }
    & > .pane--string { color: $mm-string; }
    & > .pane--number { color: $mm-number; }
    & > .pane--block { background: $mm-block; }
    & > .pane--blockedge { color: $mm-block; }
    & > .pane--pmd { background: $mm-pmd; }
    & > .pane--pmdedge { color: $mm-on-pmd; background: $mm-pmd; }
    & > .pane--bar { color: $mm-bar; }
    & > .pane--done { background: $mm-done; }
    & > .pane--key { color: $mm-key; text-style: bold; }
    &:ansi > .pane--dim, &:nocolor > .pane--dim { text-style: dim; }
    &:ansi > .pane--alarm, &:nocolor > .pane--alarm { text-style: bold reverse; }
    &:ansi > .pane--current, &:nocolor > .pane--current { text-style: bold reverse; }
    &:ansi > .pane--block, &:nocolor > .pane--block { text-style: reverse; }
    &:ansi > .pane--pmd, &:nocolor > .pane--pmd { text-style: reverse; }
    &:ansi > .pane--done, &:nocolor > .pane--done { text-style: underline; }
    &:ansi > .pane--selected, &:nocolor > .pane--selected { text-style: underline; }
"""
"""Component styles of everything that draws lines; `pane--TOKEN` for each token."""


def _theme(name: str, *, dark: bool, base: dict[str, str], tokens: dict[str, str]) -> Theme:
    variables = {f"mm-{key}": value for key, value in tokens.items()}
    variables |= {
        "block-cursor-text-style": "bold reverse",
        "footer-background": base["background"],
        "border": base["primary"],
    }
    return Theme(
        name=name,
        dark=dark,
        primary=base["primary"],
        secondary=base["secondary"],
        accent=base["accent"],
        warning=tokens["changed"],
        error=tokens["violation"],
        success=tokens["ok"],
        foreground=base["foreground"],
        background=base["background"],
        surface=base["surface"],
        panel=base["panel"],
        variables=variables,
    )


_OWN = (
    _theme(
        "mmtui-dark",
        dark=True,
        base={
            "primary": "#7aa2d6",
            "secondary": "#b79cd9",
            "accent": "#e0b36a",
            "foreground": "#d7dae0",
            "background": "#15181d",
            "surface": "#1b1f26",
            "panel": "#232831",
        },
        tokens={
            "dim": "#a2abb8",
            "strong": "#f2f4f8",
            "changed": "#f0c04a",
            "violation": "#ff8f70",
            "on-violation": "#15181d",
            "window": "#c9a6f0",
            "ok": "#7fc3e8",
            "write": "#7fc3e8",
            "read": "#c3c9d3",
            "excl": "#e8a860",
            "cont": "#a3acbb",
            "key": "#e0b36a",
            "selected": "#3b3f48",
            "rule": "#3a4250",
            "current": "#2f4f7d",
            "block": "#26384f",
            "pmd": "#413251",
            "on-pmd": "#f2f4f8",
            "bar": "#8fb3d9",
            "keyword": "#c0a6e2",
            "string": "#93b98a",
            "number": "#d9a27a",
            "done": "#383020",
            "on-current": "#ffffff",
        },
    ),
    _theme(
        "mmtui-light",
        dark=False,
        base={
            "primary": "#1f5aa0",
            "secondary": "#6a3f9c",
            "accent": "#8a4b00",
            "foreground": "#22262c",
            "background": "#fbfaf7",
            "surface": "#f1efe9",
            "panel": "#e6e3da",
        },
        tokens={
            "dim": "#545b66",
            "strong": "#0b0d10",
            "changed": "#8a4b00",
            "violation": "#a3160c",
            "on-violation": "#ffffff",
            "window": "#6a3f9c",
            "ok": "#0b5a94",
            "write": "#0b5a94",
            "read": "#343a44",
            "excl": "#7a4300",
            "cont": "#4f5763",
            "key": "#8a4b00",
            "selected": "#e0dfda",
            "rule": "#c9c5ba",
            "current": "#bcd3f0",
            "block": "#cfe0f2",
            "pmd": "#e8dcf2",
            "on-pmd": "#0b0d10",
            "bar": "#2d5c8f",
            "keyword": "#6a3f9c",
            "string": "#2f6130",
            "number": "#8a4b00",
            "done": "#f1e3c4",
            "on-current": "#0b0d10",
        },
    ),
    _theme(
        "mmtui-high-contrast",
        dark=True,
        base={
            "primary": "#ffffff",
            "secondary": "#ffffff",
            "accent": "#ffff00",
            "foreground": "#ffffff",
            "background": "#000000",
            "surface": "#000000",
            "panel": "#000000",
        },
        tokens={
            "dim": "#dcdcdc",
            "strong": "#ffffff",
            "changed": "#ffff00",
            "violation": "#ffbf40",
            "on-violation": "#000000",
            "window": "#ffc8ff",
            "ok": "#80ffff",
            "write": "#80ffff",
            "read": "#ffffff",
            "excl": "#ffd780",
            "cont": "#ffffff",
            "key": "#ffff00",
            "selected": "#363636",
            "rule": "#ffffff",
            "current": "#ffffff",
            "block": "#003070",
            "pmd": "#50005a",
            "on-pmd": "#ffffff",
            "bar": "#ffffff",
            "keyword": "#ffc8ff",
            "string": "#b8ffb8",
            "number": "#ffd780",
            "done": "#3c2c00",
            "on-current": "#000000",
        },
    ),
    _theme(
        # Okabe and Ito's palette: blue against orange, told apart with any colour vision.
        "mmtui-cvd",
        dark=True,
        base={
            "primary": "#56b4e9",
            "secondary": "#f0e442",
            "accent": "#e69f00",
            "foreground": "#e4e4e4",
            "background": "#111418",
            "surface": "#181c22",
            "panel": "#20262e",
        },
        tokens={
            "dim": "#a6aeb8",
            "strong": "#ffffff",
            "changed": "#f0e442",
            "violation": "#f2932e",
            "on-violation": "#111418",
            "window": "#cfd6de",
            "ok": "#56b4e9",
            "write": "#56b4e9",
            "read": "#d0d0d0",
            "excl": "#f0e442",
            "cont": "#a8b0ba",
            "key": "#e69f00",
            "selected": "#383c42",
            "rule": "#3c4652",
            "current": "#1f527f",
            "block": "#173f5f",
            "pmd": "#43370e",
            "on-pmd": "#ffffff",
            "bar": "#56b4e9",
            "keyword": "#56b4e9",
            "string": "#7fd0b8",
            "number": "#e69f00",
            "done": "#40360f",
            "on-current": "#ffffff",
        },
    ),
)
"""Dark, light, high contrast (7:1 and more), and safe for colour-blind eyes."""

_ANSI = {
    "dim": "ansi_default",
    "strong": "ansi_default",
    "changed": "ansi_yellow",
    "violation": "ansi_bright_red",
    "on-violation": "ansi_black",
    "window": "ansi_magenta",
    "ok": "ansi_cyan",
    "write": "ansi_cyan",
    "read": "ansi_default",
    "excl": "ansi_yellow",
    "cont": "ansi_default",
    "key": "ansi_yellow",
    "selected": "ansi_default",
    "rule": "ansi_default",
    "current": "ansi_default",
    "on-current": "ansi_default",
    "block": "ansi_default",
    "pmd": "ansi_default",
    "on-pmd": "ansi_default",
    "bar": "ansi_cyan",
    "keyword": "ansi_cyan",
    "string": "ansi_green",
    "number": "ansi_yellow",
    "done": "ansi_default",
}


def _terminal() -> Theme:
    """The theme of the sixteen colours that the terminal itself has, on its own background."""
    base = dict.fromkeys(("foreground", "background", "surface", "panel"), "ansi_default")
    base |= {"primary": "ansi_blue", "secondary": "ansi_cyan", "accent": "ansi_green"}
    theme = _theme("mmtui-terminal", dark=True, base=base, tokens=_ANSI)
    theme.ansi = True
    theme.boost = "ansi_default"
    theme.variables |= {
        name: colour
        for name, colour in BUILTIN_THEMES["ansi-dark"].variables.items()
        if name not in theme.variables
    }
    return theme


THEMES = (*_OWN, _terminal())
"""Dark, light, high contrast, safe for colour-blind eyes, and the colours of the terminal."""


def token_colours(theme: Theme) -> dict[str, str]:
    """The colours of the tokens for a theme that is not ours: those of ours that fit it."""
    if theme.ansi:
        return {f"mm-{token}": colour for token, colour in _ANSI.items()}
    ours = THEMES[0] if theme.dark else THEMES[1]
    return {name: value for name, value in ours.variables.items() if name.startswith("mm-")}
