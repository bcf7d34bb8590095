"""Doing again what a tree says was done.

On the same kernel it is done event for event, on another one as far as that goes along.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import takewhile
from typing import TYPE_CHECKING

from mmtui.model.tree import Done, Fork, Item, Place, Tree, root_steps
from sandbox.errors import Cancelled, SandboxError, UsageError
from sandbox.run.scheduling import play
from sandbox.scenario.language import Action, CpuBlock
from sandbox.scenario.schedule import events_of, turns_of

if TYPE_CHECKING:
    from mmtui.model.bench import Bench

__all__ = ["regrow"]


def regrow(bench: Bench, tree: Tree, place: Place, *, exact: bool = True) -> SandboxError | None:
    """Do on a new bench what a tree has, and go to a place of it.

    `exact` keeps the events of CPUs in their order and the numbers of branches; without it, as
    on another kernel, offsets into actions mean nothing, and what was left in the middle of a
    block is a block of its own.  What the kernel refuses ends the line it is on; the others are
    done.

    Returns the first refusal, None if all was done.

    Raises:
        Cancelled: it was stopped; the bench stands where it was then.
    """
    grower = _Grower(bench, exact)
    grower.grow(tree)
    bench.session.machine.branches.sort(key=lambda branch: branch.number)
    grower.go_to(place)
    return grower.refusal


class _Grower:
    def __init__(self, bench: Bench, exact: bool) -> None:
        self._bench, self._exact = bench, exact
        self._session, self._machine = bench.session, bench.session.machine
        self.refusal: SandboxError | None = None

    # -- lines -------------------------------------------------------------------------

    def grow(self, items: Tree) -> None:
        """Do the items of a line from here on."""
        for done, inner in _groups(items):
            if isinstance(done, Fork):
                self._fork(done, self._session.position)
            elif not self._tried(partial(self._do, done, inner)):
                return

    def _grow_within(self, fork: Fork) -> None:
        """Do a future that begins in the middle of the running action."""
        inner = tuple(takewhile(lambda item: isinstance(item, Fork) and item.offset, fork.items))
        if self._tried(partial(self._play, fork.order, inner, len(fork.order))):
            self.grow(fork.items[len(inner) :])

    def _tried(self, job: Callable[[], None]) -> bool:
        try:
            job()
        except Cancelled:
            raise
        except SandboxError as error:
            self.refusal = self.refusal or error
            return False
        return True

    def _fork(self, fork: Fork, at: int, *, within: bool = False) -> None:
        """Do a future that was left at a position, go back there, and leave it again."""
        if within:
            self._grow_within(fork)
        else:
            self.grow(fork.items)
        self._machine.goto(at)
        if not within:
            self._machine.discard_begun()
        self._machine.leave_future(fork.number if self._exact else 0)

    # -- steps -------------------------------------------------------------------------

    def _do(self, done: Done, inner: tuple[Fork, ...]) -> None:
        """Do an action, and the futures that begin in the middle of it."""
        session, action = self._session, done.action
        order = self._order(action)
        if not self._exact:
            for fork in inner:
                self._alternative(action, order, fork)
            inner = ()
        item = self._bench.script_item(done)
        step = session.begin(action)
        if item is not None:
            self._bench.progress.begun(item, step)
        events = done.events if self._exact or done.events is None else min(done.events, 1)
        self._play(order, inner, events)
        self._bench.settle()

    def _order(self, action: Action | CpuBlock) -> tuple[int, ...]:
        """The CPU of each event that the schedule of an action gives."""
        if not isinstance(action, CpuBlock):
            return ()
        order = events_of(action.schedule)
        if order is None:  # by landmarks: done once to see where they are
            session, machine = self._session, self._machine
            session.begin(action)
            start = session.position
            try:
                play(session, action.schedule)
                order = tuple(machine.cpus[start:])
            finally:
                machine.goto(start)
                machine.discard_begun()
                machine.forget_future()
        return order

    def _play(self, order: tuple[int, ...], inner: tuple[Item, ...], events: int | None) -> None:
        """Step what is running: to each future that begins in it, and so many events or all."""
        session = self._session
        base = session.position
        for fork in inner:
            assert isinstance(fork, Fork)
            self._advance(order, base, base + fork.offset)
            self._fork(fork, min(base + fork.offset, session.position), within=True)
        self._advance(order, base, base + (len(order) if events is None else events))
        while events is None and session.running:
            self._past_refusals(session.finish)
        if events is None:
            session.drain()

    def _past_refusals(self, job: Callable[[], object]) -> None:
        """Do what may come to an action of a block that is refused, and goes on after it."""
        try:
            job()
        except UsageError as error:
            if not self._exact:
                self.refusal = self.refusal or error

    def _advance(self, order: tuple[int, ...], base: int, position: int) -> None:
        """Step to a position, or until nothing runs; beyond the order, whoever can go first."""
        session, machine = self._session, self._machine
        while session.running and session.position < position:
            at = session.position - base
            cpu = order[at] if at < len(order) else None
            if cpu is not None and (machine.running[cpu] is None or machine.blocked(cpu)):
                cpu = None
            self._past_refusals(partial(session.step_event, cpu))

    def _alternative(self, action: Action | CpuBlock, order: tuple[int, ...], fork: Fork) -> None:
        """A future from the middle of an action, told from its beginning."""
        if isinstance(action, CpuBlock):
            action = action._replace(schedule=turns_of((*order[: fork.offset], *fork.order)))
        self._fork(Fork(fork.number, 0, (), (Done(action), *fork.items)), self._session.position)

    # -- the place ---------------------------------------------------------------------

    def go_to(self, place: Place) -> None:
        """Go to a place of the present line; on another kernel only into its action."""
        machine, steps = self._machine, root_steps(self._machine)
        end = machine.position + len(machine.future_cpus)
        if place.steps >= len(steps):
            return
        start = steps[place.steps][1]
        after = steps[place.steps + 1][1] if place.steps + 1 < len(steps) else end
        offset = place.offset if self._exact else min(place.offset, 1)
        machine.goto(min(start + offset, after))


def _groups(items: Tree) -> Iterator[tuple[Item, tuple[Fork, ...]]]:
    """Each action with the futures that begin in it, and those that begin between actions."""
    at = 0
    while at < len(items):
        item = items[at]
        at += 1
        inner: list[Fork] = []
        while isinstance(item, Done) and at < len(items):
            fork = items[at]
            if not isinstance(fork, Fork) or not fork.offset:
                break
            inner.append(fork)
            at += 1
        yield item, tuple(inner)
