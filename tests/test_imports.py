"""What a module loads when it is imported, seen in a fresh interpreter.

The import contracts see the static graph; this sees what really happens.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SCREEN = {"textual", "rich"}


def modules_after(code: str) -> set[str]:
    """Return the modules loaded after the code ran; its output is thrown away."""
    script = (
        "import contextlib, io, json, sys\n"
        "with contextlib.redirect_stdout(io.StringIO()):\n"
        f"    {code}\n"
        "json.dump(sorted(sys.modules), sys.stdout)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stdout))


def engine_modules() -> list[str]:
    """Name every module of the engine."""
    files = (path.relative_to(ROOT) for path in (ROOT / "sandbox").rglob("*.py"))
    return sorted(".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in files)


def test_no_module_of_the_engine_loads_a_screen_or_the_application() -> None:
    code = f"import {', '.join(engine_modules())}"
    assert not modules_after(code) & {*SCREEN, "mmtui"}


def test_what_is_shown_and_what_keys_do_loads_no_screen() -> None:
    loaded = modules_after("import mmtui.commands.registry, mmtui.commands.help")
    assert "mmtui.views.panes" in loaded
    assert not loaded & SCREEN


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["run", "--help"],
        ["run", "tests/scenarios/00-seed.scn", "--json"],
        ["check", "1"],
        ["conform", "tests/recordings/7.2/seed-fork-64k.json.xz"],
        ["kernels"],
        ["rules"],
        ["presets"],
    ],
    ids=" ".join,
)
def test_a_headless_command_loads_no_screen(arguments: list[str]) -> None:
    assert not modules_after(f"from mmtui.__main__ import main; main({arguments!r})") & SCREEN


def test_version_loads_next_to_nothing() -> None:
    loaded = modules_after("from mmtui.__main__ import main; main(['--version'])")
    ours = {name for name in loaded if name.partition(".")[0] in ("mmtui", "sandbox")}
    assert ours == {"mmtui", "mmtui.__main__"}
    assert not loaded & {"argparse", "asyncio", "dataclasses", "importlib.metadata", "inspect"}


def test_a_run_loads_no_dataclasses() -> None:
    """They load `inspect`, a fifth of the start of `mmtui run`."""
    loaded = modules_after("from mmtui.__main__ import main; main(['run', '3'])")
    assert not loaded & {"dataclasses", "inspect", "pickle", "threading", "asyncio"}
