"""Make the picture of the README: preset 3 on ryan-v2, at an event that breaks a rule.

    python docs/screenshot.py [FILE.svg]

The application runs without a terminal, at a fixed size and with an empty home.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from pathlib import Path

KEYS = tuple("nnnnnnnJvv4")
SIZE = (132, 42)


async def picture() -> str:
    """The screen as SVG."""
    from mmtui.app import MmtuiApp

    app = MmtuiApp("3", "ryan-v2")
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause()
        await pilot.press(*KEYS)
        await pilot.pause()
        return app.export_screenshot(title="mmtui 3 --kernel ryan-v2")


def main(target: str) -> None:
    """Write the picture."""
    with tempfile.TemporaryDirectory() as home:
        os.environ |= {"HOME": home, "XDG_STATE_HOME": home, "TERM": "xterm-256color"}
        os.environ.pop("NO_COLOR", None)
        Path(target).write_text(asyncio.run(picture()), encoding="utf-8")


if __name__ == "__main__":
    main(*(sys.argv[1:2] or [str(Path(__file__).with_name("mmtui.svg"))]))
