"""Random keys and lines in process, through Textual's Pilot: a traceback points into the code."""

from __future__ import annotations

import asyncio
import os
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from mmtui.app import MmtuiApp
from mmtui.commands.registry import COMMANDS
from mmtui.keys import textual_key
from mmtui.model.script import empty_source, open_source
from mmtui.screens.main import MainScreen
from mmtui.widgets.prompt import Prompt
from sandbox.kernels import KERNEL_IDS
from sandbox.scenario.library import list_cards
from tests.attack.actions import random_action
from tests.attack.hands import SIZES, Hands
from tests.attack.report import Report

if TYPE_CHECKING:
    from textual.pilot import Pilot

__all__ = ["pilot"]

_COMMON = [textual_key(key) for key in "ssssssnnnn]]]]SSSNNN[fpuwrdmxcCVavea"]
_NAMED = """
    enter escape tab shift+tab up down left right pageup pagedown home end ctrl+b ctrl+f ctrl+a
    ctrl+e ctrl+k ctrl+u ctrl+w ctrl+p delete backspace f1 f2 ctrl+z ctrl+l space
"""
_OWN = [textual_key(key) for command in COMMANDS.values() for key in command.keys if key != "q"]
_KEYS = [*_OWN, *_NAMED.split()]
_LIFE = 60.0
"""Seconds that one application lives at most."""


class Life:
    """One application and what was done to it."""

    def __init__(self, report: Report, seed: int) -> None:
        self.report, self.hands = report, Hands(seed)
        self.random: Random = self.hands.random
        self.history: list[str] = []
        choose = self.random.choice
        count = len(list_cards())
        presets = [open_source(str(self.random.randint(1, count))) for _ in range(2)]
        self.source = choose([None, empty_source(), *presets])
        self.kernel = choose([None, choose(KERNEL_IDS)])
        self.size = choose(((120, 40), (80, 24), (60, 15), (200, 60)))
        name = self.source.name if self.source else "the library"
        self.history.append(f"seed {seed}: {name} on {self.kernel} at {self.size}")

    async def live(self) -> None:
        """Random moves until it ends by itself, or has done enough."""
        app, until = MmtuiApp(self.source, self.kernel), time.monotonic() + _LIFE
        async with app.run_test(size=self.size) as pilot:
            await pilot.pause()
            for _ in range(self.random.randint(30, 150)):
                if time.monotonic() > until or not app.is_running or app._exit:
                    return
                self.report.tried += 1
                await self._move(app, pilot)

    async def _move(self, app: MmtuiApp, pilot: Pilot[Any]) -> None:
        draw = self.random.random()
        if draw < 0.62:
            keys = [self._key() for _ in range(self.random.choice((1, 1, 2, 4)))]
            self.history.append(" ".join(keys))
            await pilot.press(*keys)
        elif draw < 0.92:
            await self._line(app, pilot)
        elif draw < 0.96:
            size = self.random.choice(SIZES)
            self.history.append(f"resize {size}")
            await pilot.resize_terminal(*size)
        else:
            await self._click(app, pilot)

    def _key(self) -> str:
        return self.random.choice(_COMMON if self.random.random() < 0.75 else _KEYS)

    async def _line(self, app: MmtuiApp, pilot: Pilot[Any]) -> None:
        """Submit a line as the prompt would."""
        screen = app.screen
        if not isinstance(screen, MainScreen):
            self.history.append("escape")
            await pilot.press("escape")
            return
        sensible = self.random.random() < 0.6
        line = random_action(self.random, screen.bench) if sensible else self.hands.line()
        self.history.append(f":{line}")
        screen.post_message(Prompt.Submitted(":", line))
        await pilot.pause()

    async def _click(self, app: MmtuiApp, pilot: Pilot[Any]) -> None:
        x, y = (self.random.randrange(max(1, side)) for side in app.size)
        self.history.append(f"click {x},{y}")
        if app.screen.region.contains(x, y):
            await pilot.click(offset=(x, y))


@contextmanager
def _home(folder: Path) -> Iterator[None]:
    """A home of its own for applications that run in this process."""
    folder.mkdir(parents=True, exist_ok=True)
    before = dict(os.environ)
    there = {f"XDG_{n}_HOME": str(folder) for n in ("CACHE", "CONFIG", "DATA", "STATE")}
    os.environ.update({"HOME": str(folder), **there})
    where = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(where)
        os.environ.clear()
        os.environ.update(before)


def pilot(report: Report, folder: Path, seed: int, seconds: float) -> None:
    """One application after the other until the time is over."""
    until, number = time.monotonic() + seconds, seed * 100_000
    with _home(folder):
        while time.monotonic() < until:
            life = Life(report, number)
            report.counts["applications"] += 1
            number += 1
            try:
                asyncio.run(life.live())
            except (Exception, SystemExit) as error:  # noqa: BLE001  # all of them end it
                report.fault("ended", _where(error), _reproduction(life, error))


def _where(error: BaseException) -> str:
    places = traceback.extract_tb(error.__traceback__)[-3:]
    names = " < ".join(f"{Path(p.filename).name}:{p.lineno}:{p.name}" for p in reversed(places))
    return f"{type(error).__name__}: {str(error)[:200]} @ {names}"


def _reproduction(life: Life, error: BaseException) -> str:
    return "\n".join([*life.history, "", *traceback.format_exception(error)])
