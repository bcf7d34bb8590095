"""Kernels of installed distributions: listed from metadata, imported when the person names one."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from unittest.mock import MagicMock

import pytest

from mmtui.__main__ import main
from mmtui.commands.registry import execute
from mmtui.exit_codes import ExitCode
from mmtui.screens.choose import kernel_choices
from sandbox import kernels
from sandbox.errors import PresetError, UnknownKernelError
from sandbox.kernels import KERNEL_IDS, is_known, kernel_by_name, name_kernel
from sandbox.kernels.installed import installed
from sandbox.scenario.presets import load_preset
from tests.tui.support import machine

MODULE = """\
import os
from sandbox.kernels.linux_7_2 import Linux72
from sandbox.memory import add

with open(os.path.join(os.path.dirname(__file__), "RAN"), "a") as file:
    file.write("x")


class Theirs(Linux72):
    id = "theirs"
    title = "of a distribution"

    def folio_ref_add(self, folio, nr):
        yield add(folio._refcount, nr)


class Wrong(Linux72):
    id = "wrong"

    def folio_refs_add(self, folio, nr):
        self.folio_put(folio)
        yield add(folio._refcount, nr)
"""
POINTS = """\
[mmtui.kernels]
theirs = mmtui_demo.models:Theirs
wrong = mmtui_demo.models:Wrong
none = mmtui_demo.models:Nothing
gone = mmtui_demo.nowhere:Theirs
7.2 = mmtui_demo.models:Theirs
a:b = mmtui_demo.models:Theirs
"""
DOCUMENT = (
    '+++\ntitle = "t"\nnumber = 3\nkernels = ["{}"]\ntags = []\nsummary = "s"\n+++\n'
    "```mm\nmmap A R 64K\n```\n```expect\nret = 0\n```\n"
)


def distribution(where: Path, name: str, points: str) -> None:
    folder = where / f"{name.replace('-', '_')}-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text(points, encoding="utf-8")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place where a distribution is installed, of which nothing is named yet."""
    monkeypatch.setattr(kernels, "_named", {})
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    for name in [name for name in sys.modules if name.startswith("mmtui_demo")]:
        monkeypatch.delitem(sys.modules, name)
    where = tmp_path / "site"
    (where / "mmtui_demo").mkdir(parents=True)
    (where / "mmtui_demo" / "__init__.py").write_text("")
    (where / "mmtui_demo" / "models.py").write_text(MODULE, encoding="utf-8")
    distribution(where, "mmtui-demo", POINTS)
    monkeypatch.syspath_prepend(str(where))
    monkeypatch.chdir(tmp_path)
    return where


def times_run(site: Path) -> int:
    file = site / "mmtui_demo" / "RAN"
    return len(file.read_text(encoding="utf-8")) if file.exists() else 0


def test_they_are_listed_with_their_distribution_and_not_imported(
    site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = {"theirs", "wrong", "none", "gone", "7.2"}
    assert {entry.name for entry in installed()} >= names
    assert main(["kernels"]) == ExitCode.OK
    lines = capsys.readouterr().out.splitlines()
    (line,) = (line for line in lines if line.startswith("theirs "))
    assert "mmtui_demo.models:Theirs, installed with mmtui-demo 1.0" in line
    (line,) = (line for line in lines if line.startswith("7.2 ") and "installed" in line)
    assert "the model of that name" in line
    assert main(["kernels", "--json"]) == ExitCode.OK
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["kernel"] for row in rows[: len(KERNEL_IDS)]] == list(KERNEL_IDS)
    (row,) = (row for row in rows if row["kernel"] == "theirs")
    assert row["distribution"] == "mmtui-demo 1.0"
    assert "theirs" in [choice.value for choice in kernel_choices(machine("7.2"))]
    assert times_run(site) == 0
    assert "mmtui_demo" not in sys.modules


def test_a_document_that_names_one_imports_nothing(
    site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("p.md").write_text(DOCUMENT.format("theirs"), encoding="utf-8")
    for arguments in (["run", "p.md"], ["check", "p.md"], ["p.md"], ["run", "p.md", "-k", "7.2"]):
        assert main(arguments) == ExitCode.USAGE
        said = capsys.readouterr().err
        assert said.startswith("mmtui: p.md:4:1: unknown kernel 'theirs'")
        assert "an installed kernel only if --kernel or :kernel names it" in said
    with pytest.raises(PresetError):
        load_preset("p.md")
    with pytest.raises(UnknownKernelError, match="only if --kernel or :kernel names it"):
        kernel_by_name("theirs")
    assert not is_known("theirs")
    assert times_run(site) == 0


def test_one_that_is_named_is_imported_once_and_then_known(
    site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("p.md").write_text(DOCUMENT.format("theirs"), encoding="utf-8")
    assert main(["run", "p.md", "--kernel", "theirs"]) == ExitCode.OK
    assert "p on theirs" in capsys.readouterr().out
    assert main(["run", "3", "-k", "theirs"]) == ExitCode.OK
    capsys.readouterr()
    assert kernel_by_name("theirs").title == "of a distribution"
    assert kernel_by_name("theirs-hwaf").hw_afdbm
    assert name_kernel("7.2").__module__ == "sandbox.kernels.linux_7_2"
    assert times_run(site) == 1


def test_one_that_is_typed_is_named(site: Path) -> None:
    desk = MagicMock()
    desk.bench = machine("7.2", "mmap A R 64K")
    execute(desk, "kernel theirs")
    assert times_run(site) == 1
    desk.replay_on.assert_called_once_with("theirs")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("wrong", "models.py:20:5: wrong of mmtui-demo 1.0: Wrong.folio_refs_add() replaces"),
        ("none", "has no kernel class 'Nothing'"),
        ("gone", "gone of mmtui-demo 1.0: ModuleNotFoundError"),
        ("nothing", "unknown kernel 'nothing'"),
    ],
)
def test_what_cannot_be_taken_is_one_line(
    site: Path, capsys: pytest.CaptureFixture[str], name: str, says: str
) -> None:
    assert main(["run", "3", "--kernel", name]) == ExitCode.USAGE
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert says in said.err


def test_a_module_that_ends_the_process_is_one_line(
    site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (site / "mmtui_demo" / "models.py").write_text("import sys\nsys.exit(0)\n")
    assert main(["run", "3", "--kernel", "theirs"]) == ExitCode.USAGE
    assert "mmtui_demo/models.py:2:1: theirs of mmtui-demo 1.0: SystemExit: 0" in (
        capsys.readouterr().err
    )


def test_a_name_of_two_distributions_is_refused(site: Path) -> None:
    distribution(site, "mmtui-other", "[mmtui.kernels]\ntheirs = mmtui_demo.models:Theirs\n")
    with pytest.raises(UnknownKernelError, match=r"several kernels 'theirs'.*mmtui-demo 1\.0 and"):
        name_kernel("theirs")
    assert times_run(site) == 0
