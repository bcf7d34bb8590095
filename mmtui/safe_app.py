"""The application as far as it knows nothing of memory management: what nothing can end."""

from __future__ import annotations

import asyncio
from traceback import walk_tb
from typing import Any

from textual import constants, events
from textual.app import App
from textual.driver import Driver
from textual.message import Message
from textual.notifications import SeverityLevel

from mmtui.crash import brief, write_report
from mmtui.driver import MmtuiDriver
from mmtui.exit_codes import ExitCode
from mmtui.key_queue import KeyQueue
from mmtui.terminal import Terminal
from mmtui.views.lines import pure_text, say
from mmtui.widgets.bars import Bar
from mmtui.widgets.contained import NOT_FOUND, Contained
from sandbox.errors import UsageError

__all__ = ["SafeApp"]

_REPORTS = 200
"""Reports that one run of the application writes at most: an error may come with every frame."""


class SafeApp(Contained, App[None]):
    """An application whose own errors are messages, and that ends properly if it must.

    `ansi_color` is Textual's.
    """

    def __init__(self, terminal: Terminal | None = None, ansi_color: bool | None = None) -> None:
        self.terminal = terminal
        """What the driver draws on; None: it looks for one itself."""
        super().__init__(ansi_color=ansi_color)
        self.typed = KeyQueue(self, super().on_event)
        self.last_words: list[str] = []
        """Lines for stderr when the screen is gone."""
        self.leaving = False
        """Set by a signal handler: what was typed before is not waited for."""
        self._status = ExitCode.OK
        self._saved = self._dead = False
        self._reports: dict[tuple[object, ...], str] = {}

    def get_driver_class(self) -> type[Driver]:
        """Our driver of terminals, or what TEXTUAL_DRIVER names, e.g. that of a web server.

        Raises:
            UsageError: it names no driver.
        """
        if constants.DRIVER is None:
            return MmtuiDriver
        try:
            return super().get_driver_class()
        except (ImportError, AttributeError, ValueError, TypeError, RuntimeError) as error:
            text = f"TEXTUAL_DRIVER: no driver {constants.DRIVER[:60]!r}: {brief(error)}"
            raise UsageError(text, expected="MODULE:CLASS") from error

    # -- ends ------------------------------------------------------------------------------

    @property
    def status(self) -> int:
        """The exit status of the process."""
        return int(self._status)

    async def _dispatch_message(self, message: Message) -> None:
        if self.leaving and isinstance(message, events.InputEvent):
            # A queue that is not empty is worked off without a turn for the event loop's
            # callbacks: keys held down would keep up the end for as long as they take.
            self.typed.clear()
            await asyncio.sleep(0)
            return
        await super()._dispatch_message(message)

    async def on_event(self, event: events.Event) -> None:
        """Take what is typed in its turn."""
        if isinstance(event, events.Key | events.Paste) and not event.is_forwarded:
            await self.typed.put(event)
        else:
            await super().on_event(event)

    def keep(self) -> str | None:
        """Save what was done; what there is to say about it."""
        return None

    def leave_at_once(self) -> None:
        """Save what was done and end, whatever stands in the way.

        For when nobody can be asked: a signal came, or the terminal is gone.
        """
        if not self._exit:
            self.exit(message=self._keep_once())

    def _keep_once(self) -> str | None:
        """Save what was done, though anything may be broken."""
        if self._saved:
            return None
        self._saved = True
        try:
            return self.keep()
        except BaseException as error:  # noqa: BLE001  # the end must not be kept up by it
            return f"the session was not saved: {brief(error)}; {write_report(error)}"

    # -- errors that nobody foresaw --------------------------------------------------------

    def may_contain(self, message: Message) -> bool:
        """Without its first messages there is no application to go on with."""
        return not isinstance(message, (events.Load, events.Compose, events.Mount))

    def contain(self, error: BaseException, *, drawing: bool = False) -> str:
        """Tell of an error in our own code: a report on file, a message on the screen, and go on.

        `drawing` is for what happens with every frame: it is told of once.  The words of the
        message are returned.
        """
        if self._exit and isinstance(error, NOT_FOUND):
            return ""  # its parts are being taken off the screen, and a key was still on its way
        told, place = self._report(error, drawing=drawing)
        text = f"internal error; {place} ({brief(error)})"  # 80 columns show the whole path
        if self._exit:
            self.last_words.append(f"mmtui: {text}")
        elif not (told and drawing):
            self._tell_error(text)
        return text

    def _tell_error(self, text: str) -> None:
        """Show it where there is a message line, and over a screen that has none."""
        line = say(f" {text}", "violation")
        try:
            bars = [getattr(screen, "message", None) for screen in reversed(self.screen_stack)]
            for bar in bars:
                if isinstance(bar, Bar):
                    bar.show(line)
                    break
            if not isinstance(bars[0], Bar):
                self.notify(text, severity="error")
        except Exception as again:  # noqa: BLE001  # what is broken may be this
            self.last_words.append(f"mmtui: {text} ({brief(again)})")

    def catch_strays(self) -> None:
        """Contain also errors in tasks and callbacks of the event loop that nobody waits for."""
        asyncio.get_running_loop().set_exception_handler(self._stray)

    def _stray(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if self._running and isinstance(error, BaseException):
            self.contain(error)
        else:
            loop.default_exception_handler(context)

    def _report(self, error: BaseException, *, drawing: bool = False) -> tuple[bool, str]:
        """Whether the like was reported before, and where; in frames, whatever its words are."""
        # Each place once: an error that is raised again and again has an ever longer traceback.
        frames = walk_tb(error.__traceback__)
        stack = tuple(dict.fromkeys((frame.f_code, line) for frame, line in frames))
        key = (type(error), *((stack[-1:],) if drawing else (stack, brief(error))))
        told = key in self._reports
        if not told:
            full = len(self._reports) >= _REPORTS
            self._reports[key] = (
                f"no more than {_REPORTS} reports are written" if full else write_report(error)
            )
        return told, self._reports[key]

    def _handle_exception(self, error: Exception) -> None:
        # Textual's way to end after an error outside of what is contained.  Its own prints the
        # traceback over the terminal, and leaves with status 1 and without what was done.
        if self._exception is None:
            self._exception = error  # for tests, which get it raised
            self._exception_event.set()
        self.die_of(error)

    def die_of(self, error: BaseException) -> None:
        """Save what was done and end with `ExitCode.INTERNAL`."""
        if self._dead:
            return
        self._dead = True
        _, place = self._report(error)
        self.end_with(f"mmtui: internal error: {brief(error)}; {place}", ExitCode.INTERNAL)

    def end_with(self, words: str, status: ExitCode) -> None:
        """Save what was done and end with a line on stderr."""
        if (kept := self._keep_once()) is not None:
            self.last_words.append(kept)
        self.last_words.append(words)
        self._status = status
        self._exit = True
        self._close_messages_no_wait()

    def _print_error_renderables(self) -> None:
        # Textual's wraps what is to be copied, and prints a first error of several.
        self.last_words += [str(words) for words in self._exit_renderables]
        self._exit_renderables.clear()

    def notify(
        self,
        message: str,
        *,
        title: str = "",
        severity: SeverityLevel = "information",
        timeout: float | None = None,
        markup: bool = False,
    ) -> None:
        """Show a message over the screen, as it is: no markup, no control characters."""
        super().notify(
            pure_text(message),
            title=pure_text(title),
            severity=severity,
            timeout=timeout,
            markup=markup,
        )
