"""The door from the command line to the application as a stream of text."""

from __future__ import annotations

from mmtui.exit_codes import ExitCode
from mmtui.headless.open_app import source_of

__all__ = ["open_plain"]


def open_plain(
    target: str | None,
    kernel: str | None,
    commands: tuple[str, ...],
    scenario: str | None = None,
    *,
    resume: bool = False,
) -> ExitCode:
    """Tell a preset, a file, the latest session or an empty machine in sentences.

    Raises:
        SandboxError: no such preset, file or kernel.
    """
    from mmtui.model.script import empty_source
    from mmtui.plain import run_plain

    source = source_of(target, kernel, commands, scenario, resume=resume)
    return run_plain(source or empty_source(), kernel)
