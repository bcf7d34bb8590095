"""`kernel_api.pyi` has every function of a kernel, and holds a patch to it."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

import sandbox
from sandbox.kernels import REGISTRY, kernel_by_name
from sandbox.kernels.api import FILE, api_text, main
from sandbox.kernels.base import Kernel
from sandbox.machine.part import KernelPart

PATCH = """\
from sandbox.kernels.linux_7_2 import Linux72
from sandbox.memory import Folio, Gen, add


class K(Linux72):
    id = "k"

    def folio_ref_add(self, folio: Folio, nr: int) -> Gen[None]:
        yield from self.folio_put(folio, 2)
        yield add(folio._refcount, nr + self.cpu)
"""


def test_the_api_is_as_the_kernel_is() -> None:
    assert FILE.read_text(encoding="utf-8") == api_text(), "run python -m sandbox.kernels.api"


def test_the_check_says_when_it_is_stale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stale = tmp_path / "kernel_api.pyi"
    monkeypatch.setattr("sandbox.kernels.api.FILE", stale)
    assert main(["--check"]) == 1
    assert "run python -m sandbox.kernels.api" in capsys.readouterr().err
    assert main([]) == 0
    assert stale.read_bytes() == FILE.read_bytes()


def test_it_has_every_member_and_promises_nothing_that_is_anything() -> None:
    (api,) = (node for node in ast.parse(FILE.read_bytes()).body if isinstance(node, ast.ClassDef))
    functions = {node.name: node for node in api.body if isinstance(node, ast.FunctionDef)}
    declared = set(functions) | {
        ast.unparse(node.target) for node in api.body if isinstance(node, ast.AnnAssign)
    }
    members = {
        name
        for cls in Kernel.__mro__
        if issubclass(cls, KernelPart)
        for name in vars(cls)
        if not name.startswith("__") and name != "_abc_impl"
    }
    assert members <= declared
    for node in functions.values():
        assert node.returns is not None, node.name
        assert all(arg.annotation for arg in node.args.args[1:]), node.name


def test_everything_that_kernel_text_reads_of_itself_is_typed() -> None:
    declared = set(dir_of_api())
    classes = {
        cls
        for entry in REGISTRY
        for cls in kernel_by_name(entry.id).__mro__
        if issubclass(cls, KernelPart) and cls is not KernelPart
    }
    for cls in classes:
        text = Path(str(sys.modules[cls.__module__].__file__)).read_text(encoding="utf-8")
        node = next(
            node
            for node in ast.parse(text).body
            if isinstance(node, ast.ClassDef) and node.name == cls.__name__
        )
        own = {name for base in cls.__mro__ for name in vars(base)}
        for inner in ast.walk(node):
            if isinstance(inner, ast.Attribute) and ast.unparse(inner.value) == "self":
                assert inner.attr in own | declared, f"{cls.__name__}: self.{inner.attr}"


def dir_of_api() -> list[str]:
    (api,) = (node for node in ast.parse(FILE.read_bytes()).body if isinstance(node, ast.ClassDef))
    return [
        node.name if isinstance(node, ast.FunctionDef) else ast.unparse(node.target)
        for node in api.body
        if isinstance(node, ast.FunctionDef | ast.AnnAssign)
    ]


@pytest.mark.skipif(importlib.util.find_spec("mypy") is None, reason="mypy is not installed")
def test_a_checker_refuses_what_a_patch_misspells(tmp_path: Path) -> None:
    assert Path(sandbox.__file__).with_name("py.typed").exists()
    (tmp_path / "right.py").write_text(PATCH, encoding="utf-8")
    wrong = PATCH.replace("self.folio_put(folio, 2)", "self.folio_ref_ad(folio, 2)")
    wrong = wrong.replace("nr + self.cpu", "self.has_contpt")
    (tmp_path / "wrong.py").write_text(wrong + "\n    has_large_mapcount = 3\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", "right.py", "wrong.py"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.count(": error: ") == 3, done.stdout + done.stderr
    assert 'wrong.py:9: error: "K" has no attribute "folio_ref_ad"' in done.stdout
    assert 'wrong.py:10: error: "K" has no attribute "has_contpt"' in done.stdout
    assert "wrong.py:12: error: Incompatible types in assignment" in done.stdout
