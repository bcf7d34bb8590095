"""What a CPU has to do after an action of its own in a block, in a session and in a search."""

from __future__ import annotations

from collections.abc import Sequence

from sandbox.errors import UsageError
from sandbox.kernels.base import Kernel
from sandbox.machine.calls import Call
from sandbox.run.plan import places_of, plan
from sandbox.run.steps import Step
from sandbox.scenario.language import Action, CpuBlock
from sandbox.truth.ledger import Ledger

__all__ = ["next_action", "succeeding"]


def next_action(step: object, cpu: int, begun: Sequence[tuple[int, Call]]) -> Action | None:
    """The action of a block that a CPU comes to after it has *begun* (CPU, call) so many."""
    if not isinstance(step, Step) or not isinstance(step.action, CpuBlock):
        return None
    mine, done = step.action.of_cpu(cpu), sum(other == cpu for other, _ in begun)
    return mine[done] if done < len(mine) else None


def succeeding(
    ledger: Ledger, action: Action, kernel: Kernel, number: int, begun: Sequence[tuple[int, Call]]
) -> tuple[Call, UsageError | None]:
    """The call that does an action of the step *number* now.

    If it cannot be meant now it is one that does nothing, with the reason beside it.
    """
    try:
        return plan(ledger, action, kernel, number, places_of(call for _, call in begun)), None
    except UsageError as error:
        return Call("sys_refused", (error.message,), action.text), error
