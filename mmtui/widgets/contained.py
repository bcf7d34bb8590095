"""What is mixed into every screen and widget, so that an error in it does not end the application.

Textual ends the message loop of a widget, and with it the application, at any exception of a
message handler, a callback or a timer, and at any while a frame is drawn.  Here each is contained
where it would leave our code: `MmtuiApp.contain` tells of it, and the loop goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, cast

from textual import events
from textual.app import App, ScreenError
from textual.await_complete import AwaitComplete
from textual.css.query import NoMatches
from textual.errors import NoWidget
from textual.geometry import Region, Size
from textual.message import Message
from textual.message_pump import MessagePump, MessagePumpClosed
from textual.screen import Screen
from textual.signal import SignalError
from textual.strip import Strip
from textual.timer import Timer

if TYPE_CHECKING:
    from textual.widget import Widget

__all__ = ["NOT_FOUND", "Contained", "ContainedScreen", "ContainedWidget"]

P = ParamSpec("P")


NOT_FOUND = (NoMatches, NoWidget, ScreenError, SignalError)
"""What Textual raises when something is looked for on the screen and is not there."""


class _Net(Protocol):
    """The part of the application that errors are told to."""

    def contain(self, error: BaseException, *, drawing: bool = False) -> str:
        """Answer an error that nobody foresaw."""


class Contained(MessagePump):
    """A message pump that goes on after an error in what it was sent."""

    @property
    def net(self) -> _Net:
        """Who is told."""
        return cast("_Net", self.app)

    def may_contain(self, message: Message) -> bool:
        """Whether the pump can go on when this message came to nothing."""
        return hasattr(self.app, "contain")

    async def _dispatch_message(self, message: Message) -> None:
        if isinstance(message, events.Resize) and self._resized_again(message.size):
            return
        try:
            await super()._dispatch_message(message)
        except BaseException as error:  # SystemExit too: this is the last place
            if _ends_the_task(error) or not self.may_contain(message):
                raise
            self._tell_of(error)

    def _tell_of(self, error: BaseException) -> None:
        """Contain an error, unless it comes of nothing but that this is gone."""
        if not (isinstance(error, NOT_FOUND) and self.is_gone()):
            self.net.contain(error)

    def is_gone(self) -> bool:
        """Whether it is being taken off the screen, or has been, or a part of what is.

        What was sent to it before still comes, and finds nothing of what it looks for.
        """
        node: MessagePump | None = self
        if self.app._exit:
            return True
        while node is not None and not isinstance(node, App):
            left = isinstance(node, Screen) and node not in self.app.screen_stack
            if left or node._closing or node._closed or getattr(node, "_pruning", False):
                return True
            node = node._parent
        return False

    def what_follows(self) -> Message | None:
        """The message that waits behind the present one; it stays there."""
        try:
            return self._peek_message()
        except MessagePumpClosed:  # the loop ends after this message, as it would have
            return None

    def _resized_again(self, size: Size) -> bool:
        """Whether another size waits behind this one, which then need not be drawn.

        A window that is dragged sends sizes faster than large ones can be drawn.  Screens that lie
        below others tell each other and themselves of each size: two sizes on the way would be
        told round and round, so one that is not the terminal's any more is not taken up.
        """
        if isinstance(self, Screen) and size != self.app.size:
            return True
        waiting = (self.what_follows(), *getattr(self._message_queue, "_queue", ()))
        return any(isinstance(later, events.Resize) for later in waiting)

    def _kept(self, callback: Callable[P, Any]) -> Callable[P, Awaitable[None]]:
        """A callback that never raises."""

        async def run(*args: P.args, **kwargs: P.kwargs) -> None:
            try:
                result = callback(*args, **kwargs)
                if isawaitable(result):
                    await result
            except BaseException as error:
                if _ends_the_task(error):
                    raise
                self._tell_of(error)

        return run

    def call_later(self, callback: Callable[P, Any], *args: P.args, **kwargs: P.kwargs) -> bool:
        """As Textual's; an error in it is contained."""
        return super().call_later(self._kept(callback), *args, **kwargs)

    def call_next(self, callback: Callable[P, Any], *args: P.args, **kwargs: P.kwargs) -> None:
        """As Textual's; an error in it is contained."""
        super().call_next(self._kept(callback), *args, **kwargs)

    def call_after_refresh(
        self, callback: Callable[P, Any], *args: P.args, **kwargs: P.kwargs
    ) -> bool:
        """As Textual's; an error in it is contained."""
        return super().call_after_refresh(self._kept(callback), *args, **kwargs)

    def set_interval(
        self,
        interval: float,
        callback: Callable[[], Any] | None = None,
        *,
        name: str | None = None,
        repeat: int = 0,
        pause: bool = False,
    ) -> Timer:
        """As Textual's; an error in it is contained."""
        kept = None if callback is None else self._kept(callback)
        return super().set_interval(interval, kept, name=name, repeat=repeat, pause=pause)


def _ends_the_task(error: BaseException) -> bool:
    """Whether it is no error but the end of this very task."""
    if isinstance(error, GeneratorExit):
        return True
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and (task is None or task.cancelling() > 0)


if TYPE_CHECKING:

    class _Widget(Contained, Widget):
        """What the mixin will be mixed into."""

    class _Screen(Contained, Screen[Any]):
        """What the mixin will be mixed into."""

else:  # no widgets: Textual takes styles from the first base that is one, and only from that
    _Widget = _Screen = Contained


class ContainedWidget(_Widget):
    """A widget that goes on after an error; what it cannot draw stays blank."""

    def render_lines(self, crop: Region) -> list[Strip]:
        """Draw rows; a row that cannot be drawn must not keep the rest of the screen from it."""
        try:
            return super().render_lines(crop)
        except BaseException as error:  # noqa: BLE001  # a frame is drawn outside of any handler
            self.net.contain(error, drawing=True)
            return [Strip.blank(crop.width)] * crop.height


class ContainedScreen(_Screen):
    """A screen that goes on after an error, and is left once: events come after that, too."""

    @property
    def on_top(self) -> bool:
        """Whether keys go to it; Textual's `is_current` says yes of the screen below as well."""
        return bool(self.app.screen_stack) and self.app.screen is self

    def dismiss(self, result: object = None) -> AwaitComplete:
        """Leave the screen, unless it has been left or another one is over it.

        Textual's takes away whatever screen is on top, and calls back with a result each time.
        """
        if self.on_top:
            return super().dismiss(result)
        return AwaitComplete()
