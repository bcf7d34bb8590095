"""One-line widgets: the status at the top, the message line, and the keys at the bottom."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from textual.strip import Strip

from mmtui.views.lines import EMPTY, Line, clip, join
from mmtui.widgets.pane import Painted

if TYPE_CHECKING:
    from mmtui.commands.model import Command
    from mmtui.model.bench import Bench

__all__ = ["Bar", "key_line", "key_name"]

_SHOWN = {
    "space": "space", "backspace": "bksp", "pagedown": "pgdn", "pageup": "pgup", "escape": "esc",
    "shift+tab": "S-tab", "left": "left", "right": "right",
}  # fmt: skip


class Bar(Painted):
    """A line of tokens over the whole width."""

    DEFAULT_CSS = """
    Bar { height: 1; width: 1fr; background: $surface; color: $foreground; }
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._line: Line = EMPTY

    @property
    def line(self) -> Line:
        """What is shown."""
        return self._line

    def show(self, line: Line) -> None:
        """Show a line."""
        if line != self._line:
            self._line = line
            self.refresh()

    def render_line(self, y: int) -> Strip:
        """Draw the line, cut where the screen ends."""
        width = self.size.width
        return self.paint(clip(self._line, width) if y == 0 else EMPTY, width)


def key_name(key: str) -> str:
    """A key as people read it."""
    return _SHOWN.get(key, key)


def key_line(commands: Iterable[Command], bench: Bench | None, width: int) -> Line:
    """The most important keys that fit a width, in the order of the table; help and quit always.

    What cannot be done now is dimmed.
    """
    wanted = [command for command in commands if command.footer]
    chosen: list[str] = []
    left = width - 1
    for command in sorted(wanted, key=lambda c: -c.footer):
        size = len(key_name(command.key)) + len(command.title) + 3
        if size <= left:
            chosen.append(command.name)
            left -= size
    spans: list[tuple[str, str]] = [(" ", "")]
    for command in wanted:
        if command.name not in chosen:
            continue
        off = bench is not None and command.check(bench) is not None
        spans.append((key_name(command.key), "dim" if off else "key"))
        spans.append((f" {command.title}  ", "dim" if off else ""))
    return join(spans)
