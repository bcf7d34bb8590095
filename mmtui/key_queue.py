"""What is typed and pasted, one key after the other: each when the one before has had its effect.

Textual hands every key at once to what has the focus now.  A program that types, or a hand that is
faster than the machine, would have the rest of a line go to what had the focus before it began,
and what is typed while something takes long would come to nothing.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from textual import events
from textual.app import App
from textual.message_pump import MessagePump
from textual.screen import Screen

from mmtui.widgets.line_input import LineInput, is_character

__all__ = ["HoldsKeys", "KeyQueue"]

Typed = events.Key | events.Paste
_PATIENCE = 0.5
"""Seconds, twice, after which a part of the screen is taken never to say that a key is done."""


class HoldsKeys:
    """A screen over something that takes long: what is typed is for the one that comes then."""

    def answers(self, key: str, *, first: bool) -> bool:
        """Whether a key is meant for this screen; `first`: nothing waits before it."""
        del first
        return key in {"ctrl+c", "ctrl+q", "ctrl+z"}


class KeyQueue:
    """The keys that wait for their turn.

    A key is done when a callback that was posted behind it has gone the way of the key: from what
    has the focus up to the application, and through the screen that is shown then, which may be
    new and has its focus from then on.
    """

    def __init__(self, app: App[Any], deliver: Callable[[events.Event], Awaitable[None]]) -> None:
        self._app, self._deliver = app, deliver
        self._waiting: deque[Typed] = deque()
        self._turn = 0
        self._seen: Screen[Any] | None = None
        """The screen that the last key came to."""
        self._under_way = False
        self._late: asyncio.TimerHandle | None = None

    def clear(self) -> None:
        """Forget what was typed and has not been taken."""
        self._waiting.clear()

    async def put(self, event: Typed) -> None:
        """Take a key now or when its turn comes."""
        screen = self._app.screen
        if (
            isinstance(screen, HoldsKeys)
            and isinstance(event, events.Key)
            and screen.answers(event.key, first=not self._waiting)
        ):
            await self._deliver(event)
            return
        self._waiting.append(event)
        await self.go_on()

    async def go_on(self) -> None:
        """Take the keys that wait, unless what is on the screen holds them."""
        if not self._under_way:
            await self._take()

    def go_on_with(self, screen: Screen[Any]) -> None:
        """Take the keys that wait, once a screen that was held for has its parts."""
        screen.call_after_refresh(self._app.call_later, self.go_on)

    async def _take(self) -> None:
        if self._late is not None:
            self._late.cancel()
        self._under_way = bool(self._waiting) and not isinstance(self._app.screen, HoldsKeys)
        if not self._under_way:
            return
        self._turn += 1
        self._late = asyncio.get_running_loop().call_later(_PATIENCE, self._is_late, self._turn, 1)
        target: MessagePump = self._app.focused or self._app.screen
        event = self._next_for(target)
        await self._deliver(event)
        self._follow(target, self._turn)

    def _next_for(self, target: MessagePump) -> Typed:
        """The next key; for a line all the characters up to the next other key, as one.

        Each key takes a millisecond on its way; a page that a program types (a paste into a
        terminal without bracketed paste) would stop everything for a minute.
        """
        event = self._waiting.popleft()
        if isinstance(target, LineInput) and target.takes_text and is_character(event):
            text = [event.character or ""]
            while self._waiting and is_character(self._waiting[0]):
                text.append(getattr(self._waiting.popleft(), "character", ""))
            if len(text) > 1:
                return events.Key(event.key, "".join(text))
        return event

    def _follow(self, node: MessagePump | None, turn: int) -> None:
        """Post a callback behind a key to a part of the screen, or to the next that still is."""
        while node is not None and node is not self._app:
            if node.call_later(self._follow, node._parent, turn):
                return
            node = node._parent
        self._app.call_later(self._through_screen, turn)

    def _through_screen(self, turn: int) -> None:
        """Through the screen; a new one has to have its parts first."""
        screen = self._app.screen
        new, self._seen = screen is not self._seen, screen
        post = screen.call_after_refresh if new else screen.call_later
        if not post(self._app.call_later, self._done, turn):
            self._app.call_later(self._done, turn)

    async def _done(self, turn: int) -> None:
        if turn == self._turn and self._under_way:
            await self._take()

    def _is_late(self, turn: int, more: int) -> None:
        """Go on without being told: a part of the screen was taken away with its callbacks.

        Twice, as after something that took long the time is over before anything was looked at.
        """
        if turn != self._turn or not self._under_way:
            return
        if more:
            loop = asyncio.get_running_loop()
            self._late = loop.call_later(_PATIENCE, self._is_late, turn, more - 1)
        else:
            self._app.call_later(self._done, turn)
