"""`mmtui new-kernel` and `mmtui kernels KERNEL FUNCTION`: to begin with a patch of one's own."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmtui.exit_codes import ExitCode
from mmtui.model.files import write_atomically
from sandbox.errors import SandboxError, UsageError
from sandbox.kernels import kernel_by_name
from sandbox.kernels.overrides import noted
from sandbox.kernels.texts import callers, definitions, find
from sandbox.truth.text import wrap

if TYPE_CHECKING:
    from sandbox.kernels.base import Kernel
    from sandbox.scenario.language import Scenario

__all__ = ["new_kernel", "show_function"]


def new_kernel(base: str, functions: Sequence[str], file: str) -> ExitCode:
    """Write the file of a kernel that does as *base* does, with the functions to be changed.

    Raises:
        UsageError: there is such a file, or no such kernel or function.
    """
    from sandbox.kernels.new_kernel import class_name, kernel_text

    path = Path(file)
    if path.suffix != ".py":
        raise UsageError(f"{file!r} is no Python file", expected="FILE.py")
    if os.path.lexists(path):
        raise UsageError(f"there is a {file}", expected="the name of a new file")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"there is no folder {path.parent}", expected="one that there is")
    text = kernel_text(kernel_by_name(base), functions, path.stem)
    try:
        write_atomically(path, text)
    except OSError as error:
        raise UsageError(f"cannot write {file}: {error.strerror}") from error
    name = f"{file}:{class_name(path.stem)}"
    sys.stdout.write(f"{name}\n")
    for line in ("what it changes:", f"  mmtui compare 3 -k {base} -k {name}",
                 "what breaks:", f"  mmtui check -k {name}",
                 "in the application:", f"  mmtui 3 -k {name}"):  # fmt: skip
        sys.stderr.write(f"{line}\n")
    return ExitCode.OK


def show_function(kernel: str, function: str, *, as_json: bool) -> ExitCode:
    """Write which definition of a function is in effect, the others, who calls it, which presets.

    Raises:
        UsageError: there is no such kernel or function.
    """
    cls = kernel_by_name(kernel)
    name = find(cls, function)
    found = definitions(cls, name)
    calling = callers(cls, name)
    reached = _reached(cls, name, found[0].cls)
    if as_json:
        import json

        told: dict[str, Any] = {
            "kernel": kernel,
            "function": name,
            "summary": found[0].summary,
            "text": "\n".join(found[0].lines),
            "definitions": [{"class": d.cls.__name__, "place": d.place} for d in found],
            "callers": [{"function": key, "place": each.place} for key, each in calling],
            "presets": reached,
        }
        sys.stdout.write(json.dumps(told) + "\n")
        return ExitCode.OK
    for line in _lines(kernel, name, found, calling, reached):
        sys.stdout.write(f"{line}\n")
    return ExitCode.OK


def _lines(
    kernel: str, name: str, found: Sequence[Any], calling: Sequence[Any], reached: Sequence[str]
) -> Iterator[str]:
    yield from wrap(f"{name} on {kernel}: ", found[0].summary.split(), "  ")
    yield f"  in effect: {found[0].cls.__name__}, {found[0].place}"
    for other in found[1:]:
        yield f"  overrides: {other.cls.__name__}, {other.place}"
    if not calling:
        yield "  called by nothing of the kernel's own text"
    for key, each in calling:
        yield f"  called by: {key}, {each.place}"
    count = f"{len(reached)} of the library's presets" if reached else "no preset of the library"
    yield from wrap(f"  reached by {count}: " if reached else f"  reached by {count}",
                    " ".join(reached).split(), "    ")  # fmt: skip
    yield ""
    yield from found[0].lines


def _reached(kernel: type[Kernel], name: str, cls: type) -> list[str]:
    """The presets meant for a kernel, or one that it is made of, that come to a function of it."""
    from sandbox.scenario.library import list_presets

    ids = {vars(part).get("id") for part in kernel.__mro__}
    found = []
    with noted({name: cls}) as called:
        for preset in list_presets():
            on = next((each for each in preset.kernels if each in ids), None)
            if on is not None and _comes_to(preset.scenario(on), kernel, called):
                found.append(preset.slug)
    return found


def _comes_to(scenario: Scenario, kernel: type[Kernel], called: set[str]) -> bool:
    from sandbox.run.session import Session

    called.clear()
    session = Session(kernel)
    for step in scenario.steps:
        try:
            session.do(step)
        except SandboxError:
            break
        if called:
            return True
    return bool(called)
