"""What may not happen on two CPUs at once, for all actions of a block are planned beforehand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from sandbox.errors import UsageError
from sandbox.scenario.language import Action

if TYPE_CHECKING:
    from sandbox.session import Session


def claims(session: Session, action: Action) -> Iterator[str]:
    """What only one action of a block can make, name or give back, in words."""
    args, verb = action.args, action.verb
    yield f"CPU {action.cpu or 0}"
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


def check_block(session: Session, actions: tuple[Action, ...]) -> None:
    """Refuse a block in which two actions want the same thing, or one ends another's process."""
    claimed: set[str] = set()
    # exec, too, first ends the other threads of its process (de_thread)
    ending = {a.args["proc"]: a for a in actions if a.verb in ("exit", "kill", "exec")}
    for action in actions:
        for claim in claims(session, action):
            if claim in claimed:
                raise UsageError(
                    f"two actions at once take {claim}", action.where, "a CPU and names of its own"
                )
            claimed.add(claim)
        proc = action.args.get("proc")
        if ending.get(proc, action) is not action:
            raise UsageError(
                f"{proc} exits at the same time", action.where, "an action of another process"
            )
