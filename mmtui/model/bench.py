"""The workbench: one document on one machine, and what was done there as a value."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import takewhile

from mmtui.model.moves import Moves, Stop
from mmtui.model.regrow import regrow
from mmtui.model.script import Source
from mmtui.model.tree import Done, Place, Tree, place_of, root_steps, tree_of
from sandbox.errors import Cancelled, SandboxError
from sandbox.machine.memory import Event
from sandbox.run.session import Step
from sandbox.scenario.language import Action, CpuBlock
from sandbox.scenario.schedule import turns_of

__all__ = ["Bench", "Stop", "actions_of"]


class Bench(Moves):
    """A session on a document, that can be moved, written down, and done again elsewhere."""

    def __init__(self, source: Source, kernel: str | None = None) -> None:
        super().__init__(source, kernel)
        self._items = {
            item.action.where.line: number for number, item in enumerate(self.script.items)
        }

    # -- replaying ---------------------------------------------------------------------

    def replay_on(self, kernel: str, started: Callable[[Bench], None] | None = None) -> Bench:
        """The same on another kernel (`replay.replayed`)."""
        from mmtui.model.replay import replayed  # it makes benches

        return replayed(self, kernel, started)

    # -- what was done, as a value -------------------------------------------------------

    def tree(self) -> Tree:
        """Everything that was done, with all that was left."""
        return tree_of(self.session.machine, self.line_of)

    def place(self) -> Place:
        """Where on the present line this is."""
        starts = [start for _, start in root_steps(self.session.machine)]
        return place_of(starts, self.session.position, self.end)

    def regrow(self, tree: Tree, place: Place, *, exact: bool = True) -> None:
        """Do on a new bench what another one had (`regrow.regrow`); keeps the first refusal."""
        with self._move() as recorder:
            self.refusal = regrow(self, tree, place, exact=exact)
            recorder.restart()

    def script_item(self, done: Done) -> int | None:
        """Index of the script's action that an action of a tree is, None for one's own."""
        index = self._items.get(done.line)
        if index is None:
            return None
        mine, its = self.script.items[index].action, done.action
        return index if actions_of(mine)[0].text == actions_of(its)[0].text else None

    def line_of(self, step: Step) -> int:
        """The line of the document whose action a step is, 0 for one's own."""
        index = self.progress.item_of(step)
        return 0 if index is None else self.script.items[index].action.where.line

    def as_done(self, step: Step) -> Action | CpuBlock:
        """The action of a step; a block of CPUs with the order in which their events were done."""
        action, machine = step.action, self.session.machine
        if not isinstance(action, CpuBlock) or len(action.actions) < 2:
            return action
        tasks = self.session.tasks_of(step)
        start = min(task.start for task in tasks)
        end = max(machine.position if task.end is None else task.end for task in tasks)
        order = tuple(machine.cpus[start:end])
        if all(task.end is not None for task in tasks):  # what is left runs to its end by itself
            order = order[: len(order) - len(list(takewhile(order[-1].__eq__, reversed(order))))]
        return action._replace(schedule=turns_of(order))

    def follow(self, line: int, *, begin: bool) -> None:
        """Do the script's actions above a line of the document, and begin the one there."""
        with self._move():
            while (index := self.next_item) is not None:
                at = self.script.items[index].action.where.line
                if at < line or (at == line and not begin):
                    self._one_action()
                    continue
                if at == line:
                    self._begin_next()
                return

    def go_alike(self, done: Iterable[tuple[int, Event]]) -> None:
        """Do events of a CPU as long as they are what it is about to do, and stop before another.

        What then goes wrong is the first refusal, as it is of a replay.
        """
        session, machine = self.session, self.session.machine
        with self._move() as recorder:
            try:
                for cpu, event in done:
                    task, future = machine.running[cpu], machine.future_cpus
                    if task is None or task.pending != event or (future and future[-1] != cpu):
                        break
                    session.step_event(cpu)
                    self.settle()
            except Cancelled:
                raise
            except SandboxError as error:
                self.refusal = self.refusal or error
            recorder.restart()


def actions_of(action: Action | CpuBlock) -> tuple[Action, ...]:
    """The actions of a step, without CPUs and schedule for one alone."""
    return action.actions if isinstance(action, CpuBlock) else (action,)
