"""`mmtui kernels`, `rules` and `presets`: what there is."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from mmtui.exit_codes import ExitCode
from sandbox.errors import UsageError

if TYPE_CHECKING:
    from sandbox.kernels.base import Kernel

__all__ = ["list_kernels", "list_presets", "list_rules"]


def list_kernels(*, as_json: bool) -> ExitCode:
    """Write the modelled kernels: id, what each is derived from, title.

    After them those of installed distributions, of which nothing is imported for that.
    """
    from sandbox.kernels import KERNEL_IDS, REGISTRY, kernel_by_name
    from sandbox.kernels.installed import installed

    rows: list[dict[str, Any]] = [
        {"kernel": entry.id, "base": _base(kernel), "title": entry.title, "summary": kernel.summary}
        for entry in REGISTRY
        for kernel in (kernel_by_name(entry.id),)
    ]
    for extra in installed():
        hidden = " (the model of that name is meant by it)" if extra.name in KERNEL_IDS else ""
        title = f"{extra.value}, installed with {extra.distribution}{hidden}"
        row = {"kernel": extra.name, "base": None, "title": title, "summary": ""}
        rows.append(row | {"distribution": extra.distribution})
    return _write(rows, ("kernel", "base", "title"), as_json)


def _base(kernel: type[Kernel]) -> str | None:
    """Name the kernel that this one is derived from, of those that the list has."""
    from sandbox.kernels import KERNEL_IDS

    ids = (vars(parent).get("id") for parent in kernel.__mro__[1:])
    return next((name for name in ids if name in KERNEL_IDS), None)


def list_presets(*, as_json: bool) -> ExitCode:
    """Write the library: number, name, kernels, title."""
    from sandbox.scenario.library import list_cards

    rows = [
        {
            "number": card.front.number,
            "preset": card.slug,
            "title": card.front.title,
            "part": card.front.part,
            "kernels": list(card.front.kernels),
            "summary": card.front.summary,
        }
        for card in list_cards()
    ]
    columns = ("number", "preset", "title")
    if as_json:
        return _write(rows, columns, as_json)
    for index, (part, found) in enumerate(groupby(rows, lambda row: row["part"])):
        sys.stdout.write(("\n" if index else "") + f"{part}\n")
        _write(found, columns, as_json)
    return ExitCode.OK


def list_rules(ids: Sequence[str], *, as_json: bool) -> ExitCode:
    """Write the rules, each with its statement; those named with all that is known of them.

    After the rules come the statements that look like rules and are none,
    `N-01` and on: their scope is "never".

    Raises:
        UsageError: there is no rule of that id.
    """
    known = {row["rule"]: row for row in (*_rule_rows(), *_not_rule_rows(), *_installed_rows())}
    wanted = [name if name in known else name.upper() for name in ids]
    for name, rule in zip(ids, wanted, strict=True):
        if rule not in known:
            expected = "one that `mmtui rules` lists"
            raise UsageError(f"no rule {name!r}", expected=expected)
    rows = [known[rule] for rule in wanted or known]
    if ids and not as_json:
        for row in rows:
            shown = (f"{key}: {value}" for key, value in row.items() if value)
            sys.stdout.write("\n".join(shown) + "\n\n")
        return ExitCode.OK
    return _write(rows, ("rule", "statement"), as_json)


def _rule_rows() -> Iterable[dict[str, str]]:
    from sandbox.rules import RULES

    for rule in RULES.values():
        yield {
            "rule": rule.id,
            "statement": rule.statement,
            "formula": rule.formula,
            "scope": str(rule.scope),
            "source": rule.source,
            "explanation": rule.explanation,
        }


def _not_rule_rows() -> Iterable[dict[str, str]]:
    """Say of each false invariant that it is one."""
    from sandbox.rules.not_rules import NOT_RULES

    for item in NOT_RULES.values():
        yield {
            "rule": item.id,
            "statement": f"Not a rule: {item.statement}",
            "formula": "",
            "scope": "never",
            "source": "",
            "explanation": item.reason,
        }


def _installed_rows() -> Iterable[dict[str, str]]:
    """The rules of installed distributions, of which nothing is imported for that."""
    from sandbox.kernels.installed import installed
    from sandbox.rules.own import GROUP, named_rules

    for extra in installed(GROUP):
        if extra.name not in named_rules():
            yield {
                "rule": extra.name,
                "statement": f"{extra.value}, installed with {extra.distribution}",
                "formula": "",
                "scope": "named with --rule or :rule",
                "source": "",
                "explanation": "",
            }


def _write(rows: Iterable[dict[str, Any]], columns: Sequence[str], as_json: bool) -> ExitCode:
    """Write the rows as aligned columns, or each whole as a JSON object on a line."""
    if as_json:
        for row in rows:
            sys.stdout.write(json.dumps(row) + "\n")
        return ExitCode.OK
    cells = [["-" if row[name] is None else str(row[name]) for name in columns] for row in rows]
    widths = [max((len(line[i]) for line in cells), default=0) for i in range(len(columns))]
    for line in cells:
        padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        sys.stdout.write("  ".join(padded).rstrip() + "\n")
    return ExitCode.OK
