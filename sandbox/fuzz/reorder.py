"""The same scenario with independent actions in another order: it must come to the same end.

Two actions are independent if they can have nothing in common: other memory, of the same process
or another.  What decides is what they name, not what they do, so that nothing is taken for
independent because the model takes it for that.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from sandbox.errors import Cancelled, SandboxError
from sandbox.fuzz.asking import Answer, Answers
from sandbox.fuzz.judge import Verdict, of_cells, wrong_cells
from sandbox.run.runner import ScenarioRun
from sandbox.scenario.language import Action, Scenario
from sandbox.truth.compare import FolioNames

__all__ = ["Reordered", "orders_of"]

EVERYTHING = frozenset({"mthp", "shmem", "swap", "drain", "autodrain", "dropcache", "pageout",
                        "sysfs", "sleep", "file", "memfd"})  # fmt: skip
"""Verbs that may have to do with any other: settings, batches, slots of the swap device, and files,
which a process has only if it starts behind them."""
WHOLE = frozenset({"fork", "exit", "kill", "proc", "clearrefs", "unuring"})
"""Verbs about all memory of a process."""
RANDOM_ORDERS = 2

Token = tuple[str, str]
"""Memory that actions may share: (first ancestor, region) or (`file`, name)."""


class Reordered(NamedTuple):
    """A modelled kernel, asked the same in another order."""

    kernel: str

    @property
    def title(self) -> str:
        """What it is."""
        return f"another order of independent actions on {self.kernel.rpartition(':')[2]}"

    @property
    def dear(self) -> bool:
        """Whether asking takes long."""
        return False

    def ask(self, scenarios: Sequence[Scenario]) -> Answers:
        """Play scenarios as they are; the other orders follow from what comes of them."""
        answers = {}
        for each in scenarios:
            states = _play(self.kernel, each.steps)
            head = {"scenario": each.name, "about": each.about, "kernel": self.kernel}
            answers[each.name] = Answer({**head, "source": each.source, "steps": states})
        return Answers(answers)

    def judge(self, answer: Answer, scenario: Scenario, kernel: str) -> Verdict:
        """Play a scenario in other orders, until one comes to another end."""
        assert answer.recording is not None
        states = answer.recording["steps"]
        actions = [step for step in scenario.steps[: len(states)] if isinstance(step, Action)]
        for order in orders_of(actions, [state["ret"] for state in states]):
            verdict = _hold_against(kernel, actions, states, order)
            if verdict.kind != "same":
                return verdict
        if len(states) < len(scenario.steps):
            return Verdict("refused", len(states) + 1, why="the model refuses it")
        return Verdict("same")


def _play(kernel: str, steps: Sequence[Any]) -> list[dict[str, Any]]:
    """The states of some actions, as far as the model goes."""
    run, states = ScenarioRun(kernel, rig=True), []
    try:
        for step in steps:
            states.append(run.do(step))
    except Cancelled:
        raise
    except SandboxError:
        pass
    return states


def orders_of(actions: Sequence[Action], rets: Sequence[int]) -> Iterator[list[int]]:
    """Other orders of the actions that change nothing; `rets` is what they returned.

    The first takes each time the last one that may be next, the others any.
    """
    before = _dependences(actions, rets)
    draw = random.Random("\n".join(action.text for action in actions))
    seen = [list(range(len(actions)))]
    for turn in range(1 + RANDOM_ORDERS):
        left, order = dict(before), list[int]()
        while left:
            ready = [at for at, needed in left.items() if needed.isdisjoint(left)]
            order.append(draw.choice(ready) if turn else ready[-1])
            del left[order[-1]]
        if order not in seen:
            seen.append(order)
            yield order


def _dependences(actions: Sequence[Action], rets: Sequence[int]) -> dict[int, set[int]]:
    """Of each action, those before it that it may have to do with."""
    touched = _Touched(actions)
    marks = [touched.by(action, ret) for action, ret in zip(actions, rets, strict=True)]
    return {
        at: {earlier for earlier in range(at) if _meet(marks[earlier], marks[at])}
        for at in range(len(actions))
    }


def _meet(one: set[Token] | None, other: set[Token] | None) -> bool:
    if one is None or other is None:
        return True
    roots = {root for root, region in one if region == "*"}
    others = {root for root, region in other if region == "*"}
    return (
        not one.isdisjoint(other)
        or any(root in roots for root, _ in other)
        or any(root in others for root, _ in one)
    )


class _Touched:
    """Which memory each action is about; what is ever joined counts as one from the beginning."""

    def __init__(self, actions: Sequence[Action]) -> None:
        self._roots: dict[str, str] = {}
        self._joined: dict[Token, Token] = {}
        self._holds: dict[str, Token] = {}
        self._undrained = any(action.verb == "autodrain" for action in actions)
        for action in actions:
            args = action.args
            if action.verb == "fork":
                self._roots[args["child"]] = self._root(args["proc"])
            if args.get("to_region"):
                self._join(self._token(args, "region"), self._token(args, "to_region"))
            if args.get("fd"):
                self._join(self._token(args, "region"), ("file", args["fd"]))
            if args.get("id") and args.get("region"):
                self._holds[args["id"]] = self._token(args, "region")

    def by(self, action: Action, ret: int) -> set[Token] | None:
        """What an action touches; None for everything."""
        args, verb = action.args, action.verb
        if verb in EVERYTHING or self._undrained:
            return None
        if verb in WHOLE:
            return {(self._root(args["proc"]), "*")}
        if verb in ("write", "read", "touch") and ret:  # it may have ended its process
            return {(self._root(args["proc"]), "*")}
        if verb == "unpin":
            held = self._holds.get(args["id"])
            return {self._find(held)} if held else None
        if verb == "fsync":
            return {self._find(("file", args["name"]))}
        found = {self._find(self._token(args, "region"))}
        # The process is named as well: what is about all of it meets it under whatever name.
        return found | {(self._root(args["proc"]), args["region"])}

    def _root(self, proc: str) -> str:
        return self._roots.get(proc, proc)

    def _token(self, args: Mapping[str, Any], name: str) -> Token:
        return self._root(args["proc"]), args[name]

    def _find(self, token: Token) -> Token:
        while token in self._joined:
            token = self._joined[token]
        return token

    def _join(self, one: Token, other: Token) -> None:
        one, other = self._find(one), self._find(other)
        if one != other:
            self._joined[one] = other


def _hold_against(
    kernel: str,
    actions: Sequence[Action],
    states: Sequence[Mapping[str, Any]],
    order: Sequence[int],
) -> Verdict:
    """What is otherwise when the actions come in another order."""
    told = "in the order " + " ".join(str(at + 1) for at in order)
    others = _play(kernel, [actions[at] for at in order])
    if len(others) < len(order):
        at = order[len(others)]
        text = actions[at].text
        return Verdict("differs", len(actions), actions[at].verb, "no answer in another order",
                       action=text, cells=(told,))  # fmt: skip
    numbers = {new: old + 1 for new, old in enumerate(order, 1)}
    for new, old in enumerate(order):
        if others[new]["ret"] != states[old]["ret"]:
            change = f"{states[old]['ret']} not {others[new]['ret']}"
            return Verdict("differs", len(actions), actions[old].verb, "ret in another order",
                           change, actions[old].text, (told,))  # fmt: skip
    end, other = states[-1], _renumbered(others[-1], numbers)
    other = {**other, "ret": end["ret"], "out": end.get("out")}
    wrong = wrong_cells(end, other, FolioNames())
    if not wrong:
        return Verdict("same")
    verdict = of_cells(actions[-1].text, len(actions), wrong)
    return Verdict("differs", len(actions), "any", f"{verdict.field} in another order",
                   verdict.change, told, verdict.cells)  # fmt: skip


def _renumbered(state: Mapping[str, Any], numbers: Mapping[int, int]) -> dict[str, Any]:
    """A state in which the numbers that writes left are those of the other order."""
    folios = {}
    for name, folio in state["folios"].items():
        data = [[numbers.get(value, value), count] for value, count in folio.get("data", ())]
        folios[name] = {**folio, "data": data} if "data" in folio else folio
    return {**state, "folios": folios}
