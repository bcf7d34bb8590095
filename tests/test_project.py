"""The promises of the README and of the project's own files."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

from mmtui import __version__
from mmtui.cli import COMMANDS
from mmtui.exit_codes import ExitCode

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_gate_calls_the_test_command_of_the_readme() -> None:
    gate = (ROOT / ".ci/run").read_text(encoding="utf-8")
    match = re.search(r'^test_command="(.*)"$', gate, re.MULTILINE)
    assert match is not None
    assert f"    {match[1]}\n" in README


def test_the_readme_lists_every_exit_status() -> None:
    assert [int(n) for n in re.findall(r"^\| (\d+) \|", README, re.MULTILINE)] == list(ExitCode)


def test_the_readme_lists_every_command() -> None:
    assert re.findall(r"^\| `mmtui ([\w-]+)", README, re.MULTILINE) == list(COMMANDS)


def test_textual_is_pinned_exactly() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert any(re.fullmatch(r"textual==[\d.]+", line) for line in project["dependencies"])


def test_the_module_runs_as_a_program() -> None:
    command = [sys.executable, "-m", "mmtui", "--version"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == f"mmtui {__version__}\n"
    assert not done.stderr
