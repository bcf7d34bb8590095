"""`mmtui kernels`, `rules` and `presets`: what there is."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from mmtui.exit_codes import ExitCode
from sandbox.errors import UsageError

if TYPE_CHECKING:
    from sandbox.kernels.base import Kernel

__all__ = ["list_kernels", "list_presets", "list_rules"]


def list_kernels(*, as_json: bool) -> ExitCode:
    """Write the modelled kernels: id, what each is derived from, title."""
    from sandbox.kernels import REGISTRY, kernel_by_name

    rows = [
        {"kernel": entry.id, "base": _base(kernel), "title": entry.title, "summary": kernel.summary}
        for entry in REGISTRY
        for kernel in (kernel_by_name(entry.id),)
    ]
    return _write(rows, ("kernel", "base", "title"), as_json)


def _base(kernel: type[Kernel]) -> str | None:
    """Name the modelled kernel that this one is derived from."""
    ids = (vars(parent).get("id") for parent in kernel.__mro__[1:])
    return next((name for name in ids if name), None)


def list_presets(*, as_json: bool) -> ExitCode:
    """Write the library: number, name, kernels, title."""
    from sandbox.scenario.presets import list_presets as library

    rows = [
        {
            "number": preset.number,
            "preset": preset.slug,
            "title": preset.title,
            "kernels": list(preset.kernels),
            "summary": preset.summary,
        }
        for preset in library()
    ]
    return _write(rows, ("number", "preset", "title"), as_json)


def list_rules(ids: Sequence[str], *, as_json: bool) -> ExitCode:
    """Write the rules, each with its statement; those named with all that is known of them.

    Raises:
        UsageError: there is no rule of that id.
    """
    from sandbox.rules import RULES

    for name in ids:
        if name not in RULES:
            raise UsageError(f"no rule {name!r}", expected=f"one of {', '.join(RULES)}")
    rows = [
        {
            "rule": rule.id,
            "statement": rule.statement,
            "formula": rule.formula,
            "scope": str(rule.scope),
            "source": rule.source,
            "explanation": rule.explanation,
        }
        for rule in (RULES[name] for name in ids or RULES)
    ]
    if ids and not as_json:
        for row in rows:
            sys.stdout.write("\n".join(f"{key}: {value}" for key, value in row.items()) + "\n\n")
        return ExitCode.OK
    return _write(rows, ("rule", "statement"), as_json)


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
