"""`mmtui conform`: the engine against recordings of real kernels."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from mmtui.exit_codes import ExitCode
from sandbox.conform.states import conform_paths
from sandbox.conform.text import markdown_report, text_report
from sandbox.printable import one_line

__all__ = ["conform"]


def conform(paths: Sequence[str], *, markdown: bool) -> ExitCode:
    """Compare the recordings at the paths and writes the report; FAILED if a cell differs."""
    report = conform_paths(paths, progress=_narrate)
    lines = markdown_report(report) if markdown else text_report(report)
    for line in lines:
        sys.stdout.write(f"{line}\n")
    if not (report.orders or report.races) and not any(
        each.total("states") for each in report.kernels.values()
    ):
        _narrate("nothing was compared")
    return ExitCode.OK if report.ok else ExitCode.FAILED


def _narrate(line: str) -> None:
    sys.stderr.write(f"{one_line(line)}\n")
