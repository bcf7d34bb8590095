"""Would the tests notice? Random small mistakes in the model, and which of them no test sees.

``python -m tests.mutants --count 30 --seed 1 [PATH ...]`` puts one mistake at a time into a
temporary copy of the project and runs the fast suites that are named for the file.  A mistake that
they pass is printed as ``FILE:LINE: what``; the last line has the score as JSON.  Some survivors
change nothing that could be seen (an equivalent mutant, a text): each wants a look.  It takes
about a minute a mistake, and is no part of the gate.
"""

from __future__ import annotations

import argparse
import ast
import copy
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
PATHS = ("sandbox/mm", "sandbox/rules", "sandbox/scenario")
RULES = ("tests/engine/test_rules.py", "tests/rules")
KERNEL = ("tests/engine/test_survivors.py", "tests/test_conformance.py", *RULES,
          "tests/scenario/test_presets.py", "tests/engine/test_cpus.py")  # fmt: skip
SUITES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("sandbox/mm/ksm.py", ("tests/engine/test_ksm.py", *KERNEL)),
    ("sandbox/mm/userfaultfd.py", ("tests/engine/test_uffd.py", *KERNEL)),
    ("sandbox/mm/madvise_huge.py", ("tests/engine/test_madvise_huge.py", *KERNEL)),
    ("sandbox/mm", KERNEL),
    ("sandbox/rules", (*RULES, "tests/engine/test_history.py")),
    ("sandbox/scenario", ("tests/scenario", "tests/test_scenario_text.py", "tests/test_cli.py")),
    ("sandbox", ("tests/engine",)),
)
"""Which suites are run for a file: those of the first prefix that fits."""
TIMEOUT = 900
"""Seconds for the suites of one mistake; one that takes longer is noticed."""

COMPARE: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Lt: ast.LtE, ast.LtE: ast.Lt,
    ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
    ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
BINARY: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
    ast.LShift: ast.RShift, ast.RShift: ast.LShift,
}  # fmt: skip


class Mutant(NamedTuple):
    """One mistake: where, what, and the whole text with it."""

    path: str
    line: int
    what: str
    text: str


def wrong_forms(node: ast.AST) -> Iterator[ast.AST]:
    """What could stand by mistake for a piece of code."""
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        wrong = copy.copy(node)
        wrong.ops = [COMPARE[type(node.ops[0])]()]
        yield wrong
    elif isinstance(node, ast.BinOp) and type(node.op) in BINARY:
        yield ast.BinOp(node.left, BINARY[type(node.op)](), node.right)
    elif isinstance(node, ast.BoolOp):
        yield ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield node.operand
    elif isinstance(node, ast.Constant) and type(node.value) in (int, bool):
        yield ast.Constant(not node.value if isinstance(node.value, bool) else node.value + 1)
    elif (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Yield | ast.YieldFrom | ast.Call)
    ) or isinstance(node, ast.Break | ast.Continue):
        yield ast.Pass()


def code_of(tree: ast.Module) -> Iterator[ast.AST]:
    """The nodes of all functions' bodies; texts and annotations are left out."""
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef):
            pending: list[ast.AST] = list(function.body)
            while pending:
                node = pending.pop()
                if isinstance(node, ast.FunctionDef | ast.JoinedStr | ast.AnnAssign):
                    continue
                yield node
                pending += ast.iter_child_nodes(node)


def mutants(path: str, text: str) -> list[Mutant]:
    """All mistakes that a file can have, in the order of its text."""
    lines = text.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line.encode()))
    data, found = text.encode(), []
    for node in code_of(ast.parse(text)):
        if not isinstance(node, ast.expr | ast.stmt):
            continue
        begin = starts[node.lineno - 1] + node.col_offset
        end = starts[(node.end_lineno or node.lineno) - 1] + (node.end_col_offset or 0)
        right = data[begin:end].decode()
        for form in wrong_forms(node):
            wrong = ast.unparse(form)
            if isinstance(node, ast.expr):
                wrong = f"({wrong})"
            changed = (data[:begin] + wrong.encode() + data[end:]).decode()
            what = f"{' '.join(right.split())} -> {wrong}"
            found.append(Mutant(path, node.lineno, what, changed))
    found.sort(key=lambda mutant: (mutant.line, mutant.what))
    return found


def chosen(paths: list[str], count: int, seed: int) -> list[Mutant]:
    """So many mistakes, of files by their size; the same for the same seed and text."""
    files = sorted(
        file
        for path in paths
        for file in ([ROOT / path] if path.endswith(".py") else (ROOT / path).rglob("*.py"))
    )
    every = [
        mutant
        for file in files
        for mutant in mutants(str(file.relative_to(ROOT)), file.read_text(encoding="utf-8"))
    ]
    return random.Random(seed).sample(every, min(count, len(every)))


def suites_of(path: str) -> tuple[str, ...]:
    """The suites that are to notice a mistake in a file."""
    return next((suites for prefix, suites in SUITES if path.startswith(prefix)), ("tests/engine",))


def copied(directory: str) -> Path:
    """A copy of what is tracked, and what is not ignored, of the project."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True).stdout.decode()
    for name in names.split("\0"):
        if name and (ROOT / name).is_file():
            target = Path(directory, name)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target)
    return Path(directory)


def passes(place: Path, suites: tuple[str, ...]) -> bool:
    """Do the suites pass in a copy? They stop at the first test that does not."""
    command = [sys.executable, "-B", "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *suites]
    try:
        done = subprocess.run(command, cwd=place, capture_output=True, timeout=TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def survives(place: Path, mutant: Mutant) -> bool:
    """Put a mistake into the copy, run its suites, and mend it."""
    file = place / mutant.path
    right = file.read_text(encoding="utf-8")
    file.write_text(mutant.text, encoding="utf-8")
    try:
        return passes(place, suites_of(mutant.path))
    finally:
        file.write_text(right, encoding="utf-8")


def main(arguments: list[str] | None = None) -> int:
    """Run; 0 when every mistake was noticed."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--count", type=int, default=20, help="how many mistakes (20)")
    parser.add_argument("--seed", type=int, default=1, help="which ones (1)")
    parser.add_argument("--list", action="store_true", help="only say which they are")
    parser.add_argument("paths", nargs="*", default=list(PATHS), help="files and folders")
    asked = parser.parse_args(arguments)
    found = chosen(asked.paths, asked.count, asked.seed)
    if asked.list:
        sys.stdout.writelines(f"{m.path}:{m.line}: {m.what}\n" for m in found)
        return 0
    os.nice(10)
    survived = 0
    with tempfile.TemporaryDirectory() as directory:
        place = copied(directory)
        for suites in {suites_of(mutant.path) for mutant in found}:
            if not passes(place, suites):
                sys.stderr.write(f"without a mistake {' '.join(suites)} do not pass\n")
                return 2
        for number, mutant in enumerate(found, 1):
            alive = survives(place, mutant)
            survived += alive
            mark = "SURVIVED" if alive else "killed"
            place_of = f"{mutant.path}:{mutant.line}: {mutant.what}"
            sys.stdout.write(f"{number}/{len(found)} {mark} {place_of}\n")
            sys.stdout.flush()
    killed = len(found) - survived
    score = round(killed / len(found), 3) if found else 1.0
    result = {"seed": asked.seed, "mutants": len(found), "killed": killed, "score": score}
    sys.stdout.write(f"{json.dumps(result)}\n")
    return int(survived > 0)


if __name__ == "__main__":
    sys.exit(main())
