"""The report: differences in groups, by the verb after which and the field in which they begin."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sandbox.fuzz.judge import Reason, Verdict

__all__ = ["Case", "Group", "Summary", "groups_of", "report_json", "report_text"]

SHOWN = 4
"""Ways to differ, and smallest scenarios, that the text of a group names."""


class Case(NamedTuple):
    """A scenario that differs."""

    name: str
    verdict: Verdict
    small: tuple[str, ...] = ()
    """The smallest that differs for the same reason, if it was looked for."""


@dataclass(slots=True)
class Group:
    """Differences with one reason."""

    reason: Reason
    cases: list[Case] = field(default_factory=list)

    @property
    def changes(self) -> list[tuple[str, int]]:
        """How they differ, the most frequent first."""
        counted = Counter(case.verdict.change for case in self.cases)
        return sorted(counted.items(), key=lambda each: (-each[1], each[0]))

    @property
    def smallest(self) -> list[Case]:
        """Their smallest scenarios, each once, the shortest first."""
        unlike = {case.small: case for case in reversed(self.cases) if case.small}
        return sorted(unlike.values(), key=lambda case: (len(case.small), case.small))


class Summary(NamedTuple):
    """All that came of a run."""

    title: str
    same: int
    cases: Sequence[Case]
    lost: Mapping[str, str]
    """By scenario, why the other side came to no end."""
    refused: int
    """Agree until both refuse an action."""
    long: Sequence[str]
    """Scenarios that the model was not played to the end of."""
    complaints: Mapping[str, int]
    """Of the kernel's log, with how often."""


def groups_of(cases: Sequence[Case]) -> list[Group]:
    """Cases by reason, the largest group first."""
    found: dict[Reason, Group] = {}
    for case in cases:
        reason = case.verdict.reason
        if reason is not None:
            found.setdefault(reason, Group(reason)).cases.append(case)
    return sorted(found.values(), key=lambda group: (-len(group.cases), group.reason))


def report_text(summary: Summary) -> Iterator[str]:
    """The report as lines."""
    groups = groups_of(summary.cases)
    yield summary.title
    yield (
        f"{summary.same} agree, {len(summary.cases)} differ in {len(groups)} ways, "
        f"{summary.refused} agree until both refuse an action, {len(summary.lost)} were not played "
        f"to the end, {len(summary.long)} are too long for the model"
    )
    for group in groups:
        yield ""
        yield f"{len(group.cases):4}  {group.reason}"
        for change, count in group.changes[:SHOWN]:
            yield f"      {count} times {change}"
        yield from _cases(group)
    for name, why in summary.lost.items():
        yield f"not played: {name}: {why}"
    for name in summary.long:
        yield f"too long: {name}"
    for line, count in summary.complaints.items():
        yield f"the kernel complained {count} times: {line}"


def _cases(group: Group) -> Iterator[str]:
    small = group.smallest
    for case in small[:SHOWN]:
        yield f"      {case.name}: {'; '.join(case.small)}"
        yield from (f"        {cell}" for cell in case.verdict.cells[:SHOWN])
    if len(small) > SHOWN:
        yield f"      and {len(small) - SHOWN} other smallest scenarios"
    rest = [case for case in group.cases if not case.small]
    for case in rest[: SHOWN if not small else 1]:
        verdict = case.verdict
        yield f'      {case.name} step {verdict.step} "{verdict.action}"'
        yield from (f"        {cell}" for cell in verdict.cells[:SHOWN])


def report_json(summary: Summary) -> str:
    """The report as JSON."""
    groups: list[dict[str, Any]] = [
        {
            "verb": group.reason.verb,
            "field": group.reason.field,
            "count": len(group.cases),
            "changes": dict(group.changes),
            "cases": [
                {"scenario": case.name, **case.verdict.to_json(), "smallest": list(case.small)}
                for case in group.cases
            ],
        }
        for group in groups_of(summary.cases)
    ]
    whole = {
        "title": summary.title,
        "same": summary.same,
        "differ": len(summary.cases),
        "refused": summary.refused,
        "groups": groups,
        "lost": dict(summary.lost),
        "long": list(summary.long),
        "complaints": dict(summary.complaints),
    }
    return json.dumps(whole, indent=1) + "\n"
