"""Calls as data: which function of a kernel is to run, with which arguments.

A call is a value: it can be hashed, compared, pickled and sent to another process, and two equal
calls on equal memory do the same events.  The running function is made of it in one place, `start`.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, NamedTuple

from sandbox.machine.memory import Gen, note

__all__ = ["OWN_FUNCTIONS", "Call", "start"]

OWN_FUNCTIONS = frozenset({"sys_reclaim", "sys_exclusive", "sys_device"})
"""Entry points of verbs that a kernel may have or not; the stock kernel has none of them."""


class Call(NamedTuple):
    """One call of a kernel function: its name and immutable arguments, without the CPU.

    Arguments are numbers, names, handles (`Mm`, `Mapping`: addresses, so they are of one machine
    and of those that did the same), and frozen tuples of these such as `MapRequest`.
    """

    function: str
    """The kernel's method, e.g. `sys_fork`."""
    args: tuple[Hashable, ...] = ()
    text: str = ""
    """The line of the scenario language it was planned from, without CPU; empty for what no line
    asks for, such as draining the LRU batches."""

    def __str__(self) -> str:
        """The line of the scenario language, or the function as one would call it."""
        return self.text or f"{self.function}({', '.join(map(str, self.args))})"


def start(call: Call, kernel: object) -> Gen[Any]:
    """The running function of a call on one CPU's kernel, before its first event.

    What a line asked for stands between the notes `begin` and `end`.
    """
    if call.text:
        return run(call, kernel)
    function: Gen[Any] = getattr(kernel, call.function)(*call.args)
    return function


def run(call: Call, kernel: object) -> Gen[Any]:
    """Do a call between the notes that say where the line's events begin and end."""
    yield note("begin", call.text)
    result = yield from getattr(kernel, call.function)(*call.args)
    yield note("end", call.text, result.ret)
    return result
