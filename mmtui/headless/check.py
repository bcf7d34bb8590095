"""`mmtui check`: presets against the expectations written in them."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any

from mmtui.exit_codes import ExitCode
from mmtui.headless.working import WatchedRun
from mmtui.model.documents import open_preset
from sandbox.errors import UsageError
from sandbox.kernels import must_be_named
from sandbox.run.check import PresetCheck, check_preset
from sandbox.scenario.expect import ExpectResult
from sandbox.scenario.library import list_presets
from sandbox.scenario.presets import Preset

__all__ = ["check"]


def check(
    targets: Sequence[str], kernel: str | None, scenario: str | None = None, *, as_json: bool
) -> ExitCode:
    """Check the presets named, or the library, on the kernels they name or on one.

    A line for each preset and kernel goes to stdout, and one for each
    expectation that fails: `FILE:LINE:COLUMN: EXPECTED: got FOUND`.  A preset without an
    expectation for a kernel has no verdict, which is a failure.  As JSON it is one object per
    preset and kernel, with every expectation.

    A person's own kernel is checked on the presets that are meant for the model it is made of, and
    beside it: what fails on both is no failure, and the causes of what is new are told.

    Raises:
        SandboxError: no such preset, scenario or kernel, or a malformed document.
    """
    presets = [open_preset(target) for target in targets] if targets else list_presets()
    presets = _named(presets, scenario)
    if kernel is not None and must_be_named(kernel):
        from mmtui.headless.own_check import compare_with_base, finish

        return finish(
            compare_with_base(presets, kernel, lambda one: _write(one, as_json)), as_json=as_json
        )
    failed = 0
    for preset in presets:
        for name in preset.kernels if kernel is None else (kernel,):
            result = check_preset(preset, name, WatchedRun)
            failed += not result.ok
            _write(result, as_json)
            sys.stdout.flush()
    presets_text = "1 preset" if len(presets) == 1 else f"{len(presets)} presets"
    failures = "1 failure" if failed == 1 else f"{failed or 'no'} failures"
    sys.stderr.write(f"{presets_text}, {failures}\n")
    return ExitCode.FAILED if failed else ExitCode.OK


def _named(presets: list[Preset], scenario: str | None) -> list[Preset]:
    """Leave those whose scenario has a name: a preset's has that of its file."""
    chosen = [preset for preset in presets if scenario in (None, preset.slug)]
    if not chosen:
        names = ", ".join(preset.slug for preset in presets)
        raise UsageError(f"there is no scenario {scenario!r}", expected=f"one of {names}")
    return chosen


def _write(result: PresetCheck, as_json: bool) -> None:
    if as_json:
        import json

        lines = iter((json.dumps(_object(result)),))
    else:
        lines = _lines(result)
    for line in lines:
        # A name with a newline in it must not look like a verdict of its own.
        sys.stdout.write(line.replace("\n", "\\n") + "\n")


def _lines(result: PresetCheck) -> Iterator[str]:
    held = len(result.results) - len(result.failures)
    verdict = "ok" if result.ok else "FAILED"
    count = f"{held} of {len(result.results)} hold" if result.results else "nothing is expected"
    yield f"{verdict} {result.preset} on {result.kernel}: {count}"
    for failure in result.failures:
        yield f"  {failure.where}: {failure.text}: got {failure.got}"


def _object(result: PresetCheck) -> dict[str, Any]:
    return {
        "scenario": result.preset,
        "file": result.path,
        "kernel": result.kernel,
        "ok": result.ok,
        "expectations": [_expectation(each) for each in result.results],
    }


def _expectation(result: ExpectResult) -> dict[str, Any]:
    return {
        "file": result.where.file,
        "line": result.where.line,
        "column": result.where.column,
        "text": result.text,
        "ok": result.ok,
        "got": result.got,
    }
