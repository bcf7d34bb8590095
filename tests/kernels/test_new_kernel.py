"""The file that a person's own kernel begins with: it loads, and does as its base does."""

from __future__ import annotations

import ast
import json
import os
from pathlib import Path

import pytest

from mmtui.cli import dispatch
from mmtui.exit_codes import ExitCode
from sandbox.compare.runs import compare_runs
from sandbox.errors import UsageError
from sandbox.kernels import kernel_by_name, name_kernel
from sandbox.kernels.new_kernel import class_name, kernel_text
from sandbox.kernels.texts import callers, definitions, find
from sandbox.run.runner import ScenarioRun
from sandbox.scenario.language import parse_scenarios

STORY = """scenario s
mthp 64K madvise
mmap A R 64K
touch A R 0 16 w
fork A B
pin A R 5 6 1 w
write B R 3 4
munmap A R 0 4
exit B
end
"""
WHOLE = bool(os.environ.get("MMTUI_ALL"))


def functions(kernel: str) -> list[str]:
    """Every function of a kernel, by name; in the gate every sixtieth."""
    cls = kernel_by_name(kernel)
    names = sorted({name for part in cls.__mro__[:-1] for name in vars(part) if name[:2] != "__"})
    found = [n for n in names if (d := definitions(cls, n)) and _is_function(d[0].statement)]
    return found if WHOLE else found[7::60]


def _is_function(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.FunctionDef) and not any(
        ast.unparse(mark) in ("property", "staticmethod", "classmethod")
        for mark in statement.decorator_list
    )


@pytest.mark.parametrize("kernel", ["7.2", "6.9"])
def test_every_function_can_be_copied_and_does_as_it_did(kernel: str, tmp_path: Path) -> None:
    scenario = parse_scenarios(STORY, "s.scn")[0]
    for number, function in enumerate(functions(kernel)):
        file = tmp_path / f"copy{number}.py"
        file.write_text(kernel_text(kernel_by_name(kernel), [function], file.stem))
        name = f"{file}:Copy{number}"
        name_kernel(name)
        found = compare_runs((ScenarioRun(kernel), scenario), (ScenarioRun(name), scenario))
        assert found.same, function
        spans = [[(p.start, p.end) for p in (pair.left, pair.right) if p] for pair in found.steps]
        assert all(one == other for one, other in spans), function


def test_several_functions_and_none(tmp_path: Path) -> None:
    base = kernel_by_name("7.2")
    text = kernel_text(base, ["copy_present_ptes", "folio_ref_add"], "my_idea")
    names = [n.name for n in ast.walk(ast.parse(text)) if isinstance(n, ast.FunctionDef)]
    assert names == ["copy_present_ptes", "folio_ref_add"]
    assert "super(BatchDupMixin, self)" in text
    file = tmp_path / "empty.py"
    file.write_text(kernel_text(base, [], "empty"))
    assert issubclass(name_kernel(f"{file}:Empty"), base)


def test_names_of_the_kernels_own_spelling_are_found() -> None:
    cls = kernel_by_name("7.2")
    assert find(cls, "__folio_put") == "_folio_put"
    with pytest.raises(UsageError, match="expected copy_present_ptes"):
        find(cls, "copy_present_pte_s")
    assert {name for name, _ in callers(cls, "copy_present_ptes")} == {"copy_ptes_locked"}


@pytest.mark.parametrize("stem", ["2fast", "a b", "", "class-x", "ä+"])
def test_a_file_that_is_no_module_is_refused(stem: str) -> None:
    with pytest.raises(UsageError, match="no name of a module"):
        class_name(stem)


def test_the_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = ["new-kernel", "--base", "6.9", "copy_present_ptes", "-o", "mine.py"]
    assert dispatch(asked) == ExitCode.OK
    assert capfd.readouterr().out == "mine.py:Mine\n"
    assert dispatch(["compare", "3", "-k", "6.9", "-k", "mine.py:Mine"]) == ExitCode.OK
    before = Path("mine.py").read_text()
    assert dispatch(asked) == ExitCode.USAGE
    assert Path("mine.py").read_text() == before
    for wrong in (["-o", "x.txt"], ["-o", "no/x.py"], ["-o", "x.py", "no_such_function"]):
        capfd.readouterr()
        assert dispatch(["new-kernel", *wrong]) == ExitCode.USAGE
        assert capfd.readouterr().err.count("\n") == 1
    assert dispatch(["kernels", "7.2", "copy_present_ptes", "--json"]) == ExitCode.OK
    told = json.loads(capfd.readouterr().out)
    assert told["definitions"][0]["class"] == "BatchDupMixin"
    assert "seed-pin-middle" in told["presets"]
    assert dispatch(["kernels", "7.2", "change_present_ptes"]) == ExitCode.OK
    out = capfd.readouterr().out
    assert "called by: " in out
    assert "def change_present_ptes" in out
    assert dispatch(["kernels", "7.2"]) == ExitCode.USAGE
