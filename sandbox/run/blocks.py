"""What the actions of one block may not be, told before any of them begins.

The first action of each CPU is planned with the block; the others are planned when their CPU comes
to them.  Of those it is known beforehand which names there will be: what exists now, and what the
earlier actions of the same CPU make.  What another CPU makes in the same block is no such name, for
it depends on the order of events whether it is there; two CPUs may not make, or give back, the same
thing, nor may one end a process that another one uses.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from sandbox.errors import UsageError
from sandbox.scenario.language import Action, CpuBlock

if TYPE_CHECKING:
    from sandbox.run.session import Session

__all__ = ["check_block", "claims"]


def claims(session: Session, action: Action) -> Iterator[str]:
    """What only one CPU of a block can make, name or give back, in words."""
    args, verb = action.args, action.verb
    if verb in ("fork", "proc"):
        yield f"process {args['child' if verb == 'fork' else 'proc']}"
    elif verb in ("mmap", "mremap"):
        yield f"region {args['region' if verb == 'mmap' else 'to_region']} of {args['proc']}"
        if args["proc"] not in session.ledger.processes():
            yield f"process {args['proc']}"
    elif verb in ("pin", "get", "repeat", "unpin"):
        yield f"id {args['id']}"
    elif verb in ("uring", "unuring"):
        yield f"the buffers of {args['proc']}"
    elif verb in ("memfd", "file"):
        yield f"file {args['name']}"


def check_block(session: Session, block: CpuBlock) -> tuple[Action, ...]:
    """Refuse a block that cannot be meant whatever the order; the first action of each CPU.

    Raises:
        UsageError: with the place of the action and the reason.
    """
    _check_claims(session, block)
    _check_ends(block)
    firsts: dict[int, Action] = {}
    names: dict[int, _Names] = {}
    for action in block.actions:
        cpu = action.cpu or 0
        if cpu not in firsts:
            firsts[cpu] = action
            names[cpu] = _Names(session)
        else:
            names[cpu].check(action)
        names[cpu].do(action)
    return tuple(firsts.values())


def _check_claims(session: Session, block: CpuBlock) -> None:
    claimed: dict[str, int] = {}
    for action in block.actions:
        cpu = action.cpu or 0
        for claim in claims(session, action):
            if claimed.setdefault(claim, cpu) != cpu:
                raise UsageError(
                    f"two CPUs at once take {claim}", action.where, "names of its own for each CPU"
                )


def _check_ends(block: CpuBlock) -> None:
    # exec, too, first ends the other threads of its process (de_thread)
    ending = [a for a in block.actions if a.verb in ("exit", "kill", "exec")]
    ends = {a.args["proc"]: a.cpu or 0 for a in ending}
    for action in block.actions:
        for proc in (action.args.get("proc"), action.args.get("with_proc")):
            if ends.get(proc, action.cpu or 0) != (action.cpu or 0):
                raise UsageError(
                    f"{proc} exits at the same time", action.where, "an action of another process"
                )


class _Names:
    """The names that one CPU will find when it comes to an action of the block."""

    def __init__(self, session: Session) -> None:
        book = session.book
        self._procs = dict.fromkeys(book.processes)
        self._ids = dict.fromkeys(book.ids)
        self._files = dict.fromkeys(book.files)
        self._regions = dict.fromkeys(book.places)

    def check(self, action: Action) -> None:
        """Refuse an action whose names will not be there, or will be there already."""
        args, verb = action.args, action.verb
        if verb == "proc":
            self._free(action, "process", args["proc"], self._procs)
        elif verb != "mmap" and "proc" in args:
            self._there(action, "process", args["proc"], self._procs)
        if "with_proc" in args:
            self._there(action, "process", args["with_proc"], self._procs)
        if verb == "fork":
            self._free(action, "process", args["child"], self._procs)
        if verb not in ("mmap", "exec") and "region" in args:
            self._there(action, "region", args["region"], self._regions)
        if verb in ("pin", "get", "repeat"):
            self._free(action, "id", args["id"], self._ids)
        elif verb == "unpin":
            self._there(action, "id", args["id"], self._ids)
        if verb in ("memfd", "file"):
            self._free(action, "file", args["name"], self._files)
        elif verb == "fsync":
            self._there(action, "file", args["name"], self._files)
        elif args.get("fd"):
            self._there(action, "file", args["fd"], self._files)

    def do(self, action: Action) -> None:
        """Take in what an action makes and gives back."""
        args, verb = action.args, action.verb
        if verb == "fork":
            self._procs[args["child"]] = None
        elif verb in ("proc", "mmap"):
            self._procs[args["proc"]] = None
        elif verb in ("exit", "kill"):
            self._procs.pop(args["proc"], None)
        elif verb in ("pin", "get", "repeat"):
            self._ids[args["id"]] = None
        elif verb == "unpin":
            self._ids.pop(args["id"], None)
        elif verb in ("memfd", "file"):
            self._files[args["name"]] = None
        if verb in ("mmap", "exec", "mremap"):
            self._regions[args["to_region" if verb == "mremap" else "region"]] = None

    def _there(self, action: Action, kind: str, name: str, known: dict[str, None]) -> None:
        if name not in known:
            raise UsageError(
                f"there is no {kind} {name} when cpu{action.cpu or 0} comes to this",
                action.where,
                "one of: " + (", ".join(known) or "none yet"),
            )

    def _free(self, action: Action, kind: str, name: str, known: dict[str, None]) -> None:
        if name in known:
            raise UsageError(
                f"there is a {kind} {name} already when cpu{action.cpu or 0} comes to this",
                action.where,
                "a new name",
            )
