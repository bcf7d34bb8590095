"""Verbs that only some kernels have: reclaim of a node, and what devices do to page tables.

A verb means the same on every kernel.  Once `pageout` and `uring` meant `reclaim` and `exclusive`
on some kernels, and CPU 1 was a device on others; there the old ways are refused, and the new name
is told.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sandbox.machine.calls import Call

if TYPE_CHECKING:
    from sandbox.run.planner import Planner

    Handler = Callable[[Planner], Call]

__all__ = ["OWN_HANDLERS", "check_meaning"]

_NEEDS = {
    "reclaim": ("sys_reclaim", "reclaim of a node", "lazyfree-batch or one of its kind; pageout"),
    "exclusive": ("sys_exclusive", "device-exclusive entries", "lazyfree-batch or one of its kind"),
    "device": ("sys_device", "device on the page tables", "6.15-smmu, 7.2-smmu; touch is a CPU's"),
}
"""By verb: the function that a kernel must have, what it lacks without, what has it."""
_MEANT = {"pageout": "reclaim", "uring": "exclusive"}
"""By verb: what it meant on kernels that have the other."""
_ACCESSES = ("touch", "write", "read")


def check_meaning(p: Planner) -> None:
    """Refuse verbs that the kernel lacks, and those that used to mean something else on it.

    Raises:
        UsageError: with the verb to use instead.
    """
    verb = p.action.verb
    if verb in _NEEDS:
        function, what, expected = _NEEDS[verb]
        if not hasattr(p.kernel, function):
            raise p.refuse(f"kernel {p.kernel.id} has no {what}", expected)
    now = _MEANT.get(verb)
    if now is not None and hasattr(p.kernel, _NEEDS[now][0]):
        args = p.args
        line = f"{now} {args['proc']} {args['region']} {args['start']} {args['end']}"
        raise p.refuse(f"on kernel {p.kernel.id} '{verb}' once meant '{now}'", line)
    if verb in _ACCESSES and p.action.cpu == 1 and hasattr(p.kernel, "sys_device"):
        mode = "w" if verb == "write" or p.args.get("mode") == "w" else "r"
        args = p.args
        line = f"device {args['proc']} {args['region']} {args['start']} {args['end']} {mode}"
        raise p.refuse(f"on kernel {p.kernel.id} CPU 1 once was the device", line)


def _reclaim(p: Planner) -> Call:
    mm = p.mm()
    return p.call("sys_reclaim", mm, *p.span(mm))


def _exclusive(p: Planner) -> Call:
    mm = p.mm()
    return p.call("sys_exclusive", mm, *p.span(mm))


def _device(p: Planner) -> Call:
    mm = p.mm()
    return p.call("sys_device", mm, *p.span(mm), p.args["mode"] == "w", p.step)


OWN_HANDLERS: dict[str, Handler] = {
    "reclaim": _reclaim,
    "exclusive": _exclusive,
    "device": _device,
}
