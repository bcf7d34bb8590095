"""Make the pictures of the README: the course, the card, a broken rule, two CPUs.

    python docs/screenshot.py            draws all anew
    python docs/screenshot.py NAME ...   draws some

The application runs without a terminal, at a fixed size and with an empty home.  A test holds the
text of each picture against what the application shows (`tests/test_pictures.py`).
"""

from __future__ import annotations

import asyncio
import html
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from textual.pilot import Pilot

    from mmtui.app import MmtuiApp

HERE = Path(__file__).parent


class Picture(NamedTuple):
    """What is opened, and which keys lead to what is shown."""

    target: str | None
    kernel: str | None
    keys: str
    size: tuple[int, int]
    title: str


PICTURES = {
    "mmtui": Picture("3", "ryan-v2", "nnnnnnnJvv4", (132, 42), "mmtui 3 --kernel ryan-v2"),
    "course": Picture(None, None, "", (110, 34), "mmtui"),
    "card": Picture("3", "7.2", "nnnnn4z", (100, 26), "the card of a folio"),
    "violation": Picture("3", "ryan-v2", "nnnnnnnJvv6z", (100, 30), "why a rule broke"),
    "cpus": Picture("45", "no-seqcount", "v", (132, 42), "mmtui 45 --kernel no-seqcount"),
}
"""The pictures by the names of their files."""


async def picture(name: str) -> str:
    """A picture as SVG."""
    from mmtui.app import MmtuiApp

    seen = PICTURES[name]
    app = MmtuiApp(seen.target, seen.kernel)
    async with app.run_test(size=seen.size) as pilot:
        await settled(app, pilot)
        for key in seen.keys:
            await pilot.press(key)
            await settled(app, pilot)
        return app.export_screenshot(title=seen.title)


async def settled(app: MmtuiApp, pilot: Pilot[None]) -> None:
    """Wait until moves are over, and all that is looked ahead for is found."""
    from mmtui.model import foresight
    from mmtui.screens.main import MainScreen
    from mmtui.views.panes import FORESEEING

    await pilot.pause()
    while any(isinstance(screen, MainScreen) and screen.mover.busy for screen in app.screen_stack):
        await pilot.pause()
    await pilot.pause()
    if isinstance(app.screen, MainScreen) and (ahead := foresight.pending(app.screen.bench)):
        ahead.finish()
        app.screen.show_again(FORESEEING)
        await pilot.pause()


def text_of(svg: str) -> str:
    """What is written in a picture, without where and how."""
    return html.unescape("\n".join(re.findall(r"<text [^>]*>(.*?)</text>", svg)))


def main(names: list[str]) -> None:
    """Draw pictures, each in a home of its own."""
    os.environ["TERM"] = "xterm-256color"
    os.environ.pop("NO_COLOR", None)
    for name in names or PICTURES:
        with tempfile.TemporaryDirectory() as home:
            os.environ |= {"HOME": home, "XDG_STATE_HOME": home, "XDG_CONFIG_HOME": home}
            (HERE / f"{name}.svg").write_text(asyncio.run(picture(name)), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
