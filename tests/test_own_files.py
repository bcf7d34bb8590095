"""Files beside a patch: its helpers, read with it, named in its errors, and in nobody's way."""

from __future__ import annotations

import linecache
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mmtui.cli import dispatch
from mmtui.exit_codes import ExitCode
from sandbox.errors import UnknownKernelError
from sandbox.kernels import kernel_by_name, name_kernel
from tests.engine.support import FORK_64K, act, run

PATCH = """\
from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import helper
from helper import extra
from sandbox.kernels.linux_7_2 import Linux72
from sandbox.memory import add


@dataclass(frozen=True)
class Part:
    first: int
    nr: int = 1
    more: tuple[int, ...] = field(default=())


class Pair(NamedTuple):
    a: int
    b: int


class K(Linux72):
    id = helper.ID
    title = summary = "t"

    def folio_ref_add(self, folio, nr):
        part = Part(0, nr)
        yield add(folio._refcount, part.nr + extra(Pair(1, 1)))
"""
HELPER = "ID = '{}'\n\n\ndef extra(pair):\n    return {}\n"


def folder(where: Path, kernel_id: str = "own", extra: str = "0") -> str:
    """A folder with a patch and its helper."""
    where.mkdir(exist_ok=True)
    (where / "k.py").write_text(PATCH, encoding="utf-8")
    (where / "helper.py").write_text(HELPER.format(kernel_id, extra), encoding="utf-8")
    return f"{where / 'k.py'}:K"


def test_a_dataclass_and_a_helper_beside_the_file_work(tmp_path: Path) -> None:
    path, modules = list(sys.path), set(sys.modules)
    kernel = name_kernel(folder(tmp_path))
    assert kernel.id == "own"
    assert sys.path == path
    assert sys.modules[kernel.__module__].K is kernel
    assert "helper" not in set(sys.modules) - modules
    assert not (tmp_path / "__pycache__").exists()
    session = run(kernel, FORK_64K)
    assert not session.running
    act(session, "write A R 0 4")


def test_two_folders_may_have_a_helper_of_the_same_name(tmp_path: Path) -> None:
    names = [folder(tmp_path / each, each) for each in ("one", "two")]
    kernels = [name_kernel(name) for name in names]
    assert [kernel.id for kernel in kernels] == ["one", "two"]
    assert [name_kernel(name).id for name in names] == ["one", "two"]
    assert len({kernel.__module__ for kernel in kernels}) == 2


def test_a_helper_that_was_edited_is_read_again(tmp_path: Path) -> None:
    name = folder(tmp_path)
    assert name_kernel(name).id == "own"
    helper = tmp_path / "helper.py"
    stamp = helper.stat()
    helper.write_text(HELPER.format("new", "0"), encoding="utf-8")
    os.utime(helper, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert name_kernel(name).id == "new"
    assert "'new'" in linecache.getline(str(helper), 1)


BROKEN = {
    "ID = 'own'\ndef extra(:\n": r"helper\.py:2:11: SyntaxError",
    "ID = 1 / 0\n": r"helper\.py:1:6: ZeroDivisionError",
    "ID = 'own'\n": r"k\.py:7:1: ImportError: cannot import name 'extra'",
    "import nothing_of_that_name\n": r"helper\.py:1:1: ModuleNotFoundError",
    "from . import nothing\n": r"helper\.py:1:1: ImportError",
    "from .nothing import x\n": r"helper\.py:1:1: ModuleNotFoundError: No module named 'nothing'",
    "from ..up import x\n": r"helper\.py:1:1: ImportError: attempted relative import beyond",
    "ID = '\x1b'\ndef extra(pair): return 0\n": r"k\.py:24:1: id has control characters",
    "from sandbox.memory import load\nID = 'own'\n\ndef extra(pair):\n    return 0\n"
    "def more():\n    yield 5\n    yield load(16)\n": r"helper\.py:7:5: 5 is a value",
    "ID = 'own'\nSEEN = []\ndef extra(pair):\n    SEEN.append(1)\n    return 0\n":
    r"helper\.py:4:5: SEEN\.append\(1\): the list SEEN of the module keeps state",
}  # fmt: skip


@pytest.mark.parametrize("text", BROKEN)
def test_a_mistake_in_a_helper_is_named_by_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.chdir(tmp_path)
    name = os.path.relpath(folder(tmp_path / "mine"))
    before, lines = name_kernel(name), linecache.getlines(str(tmp_path / "mine" / "helper.py"))
    modules = {key: value for key, value in sys.modules.items() if key.startswith("mmtui_own_")}
    (tmp_path / "mine" / "helper.py").write_text(text, encoding="utf-8")
    with pytest.raises(UnknownKernelError, match=rf"^mine/{BROKEN[text]}") as caught:
        name_kernel(name)
    assert "\n" not in str(caught.value)
    assert kernel_by_name(name) is before
    assert {k: v for k, v in sys.modules.items() if k.startswith("mmtui_own_")} == modules
    assert linecache.getlines(str(tmp_path / "mine" / "helper.py")) == lines


def test_helpers_import_each_other_and_may_be_packages(tmp_path: Path) -> None:
    name = folder(tmp_path)
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "__init__.py").write_text("from .one import ID\nfrom . import two\n")
    (tmp_path / "parts" / "one.py").write_text("from helper_of_it import ID\n")
    (tmp_path / "parts" / "two.py").write_text("import parts.one\nfrom ..helper_of_it import ID\n")
    (tmp_path / "helper_of_it.py").write_text("import json, os.path\nID = json.loads('\"own\"')\n")
    (tmp_path / "helper.py").write_text(
        "import parts.two as two\nimport parts\nfrom parts import one, two as second\n"
        "assert two is second is parts.two and one.ID == parts.ID\nfrom parts.one import *\n"
        "def extra(pair):\n    import late\n    return late.N\n"
    )
    (tmp_path / "late.py").write_text("N = 0\n")
    kernel = name_kernel(name)
    assert kernel.id == "own"
    assert not run(kernel, FORK_64K).running


def test_a_file_beside_it_is_not_taken_for_the_engine_or_the_library(tmp_path: Path) -> None:
    name = folder(tmp_path)
    for each in ("dataclasses", "sandbox", "typing", "json"):
        (tmp_path / f"{each}.py").write_text("raise SystemExit(3)\n")
    assert name_kernel(name).id == "own"


def test_a_kernel_class_of_a_helper_is_held_to_the_same(tmp_path: Path) -> None:
    (tmp_path / "base.py").write_text(
        "from sandbox.kernels.linux_7_2 import Linux72\nfrom sandbox.memory import add\n"
        "class Base(Linux72):\n    def folio_refs_add(self, folio, nr):\n"
        "        yield add(folio._refcount, nr)\n"
    )
    (tmp_path / "k.py").write_text("from base import Base\nclass K(Base):\n    id = 'k'\n")
    says = r"base\.py:4:5: Base\.folio_refs_add\(\) replaces nothing .* expected folio_ref_add"
    with pytest.raises(UnknownKernelError, match=says):
        name_kernel(f"{tmp_path / 'k.py'}:K")
    (tmp_path / "k.py").write_text(
        "from base import Base\nclass K(Base):\n    id = 'k'\n"
        "    def folio_ref_add(self, folio, nr):\n"
        "        yield from self.folio_refs_add(folio, nr)\n"
    )
    assert name_kernel(f"{tmp_path / 'k.py'}:K").id == "k"


def test_what_goes_wrong_in_a_helper_while_it_runs_is_named_by_its_file(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    name = folder(tmp_path, extra="1 / (pair.a - pair.b)")
    assert dispatch(["run", "3", "--kernel", name]) == ExitCode.USAGE
    assert "helper.py:5" in capfd.readouterr().err


def test_the_command_line_finds_a_helper_beside_the_file_and_not_where_it_is(
    tmp_path: Path,
) -> None:
    folder(tmp_path / "mine")
    (tmp_path / "helper.py").write_text("raise SystemExit(3)\n")
    done = subprocess.run(
        [sys.executable, "-m", "mmtui", "run", "1", "--kernel", "mine/k.py:K"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == ExitCode.OK, done.stderr
