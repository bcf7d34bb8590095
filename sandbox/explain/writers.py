"""Find in the kernels' text which functions change which words, and write that down.

    python -m sandbox.explain.writers           writes the table anew
    python -m sandbox.explain.writers --check   says whether it is stale (exit status 1)

An event changes a term when the call that makes it has one of the term's names in it: the word's
field, the flag that is set, the helper that made the entry.  Names that were assigned in the same
function count for what they were assigned.  Helpers of ours are named by the kernel's functions
that call them.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

from sandbox.explain.table import TERMS, WRITERS
from sandbox.explain.terms import Kind
from sandbox.truth.names.functions import is_ours, kernel_name

__all__ = ["main", "writers_text"]

_ROOT = Path(__file__).parent.parent
_TEXTS = ("arch/**/*.py", "fs/*.py", "kernel/*.py", "mm/**/*.py", "syscalls.py",
          "kernels/linux_*.py", "kernels/files.py")  # fmt: skip
"""The text of releases; proposals are not looked at."""
_CHANGING = frozenset(
    ["store", "add", "try_add", "cas", "bits", "xchg", "user_store", "set_pte_at", "set_ptes"]
)
"""What makes events that change a word, and what passes one on."""
_LOCKING = frozenset(["lock", "trylock", "unlock", "lock_bit"])
_VALUES = ("PG_", "PTE_", "VM_", "MM_", "MMF_", "pte_")
"""How names begin of what a word is given."""
_HEAD = (
    "# Which functions of the releases change a term."
    " Written by `python -m sandbox.explain.writers`.\n"
)
_DEEP = 3
"""How many helpers of ours may stand between a kernel's function and the event."""


def _functions() -> Iterator[ast.FunctionDef]:
    for pattern in _TEXTS:
        for path in sorted(_ROOT.glob(pattern)):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            yield from (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def _names_in(node: ast.AST) -> set[str]:
    found = {sub.id for sub in ast.walk(node) if isinstance(sub, ast.Name)}
    return found | {sub.attr for sub in ast.walk(node) if isinstance(sub, ast.Attribute)}


def _assigned(function: ast.FunctionDef) -> dict[str, set[str]]:
    """By local name, the names in all that is assigned to it."""
    found: dict[str, set[str]] = {}
    for node in ast.walk(function):
        targets: list[ast.expr] = []
        if isinstance(node, ast.Assign):
            targets = node.targets
        elif isinstance(node, (ast.AugAssign, ast.AnnAssign, ast.NamedExpr)):
            targets = [node.target]
        value = getattr(node, "value", None)
        for target in targets:
            if isinstance(target, ast.Name) and isinstance(value, ast.AST):
                found.setdefault(target.id, set()).update(_names_in(value))
    return found


def _word(arg: ast.expr) -> set[str]:
    """The names by which the word of an event is known."""
    if isinstance(arg, ast.Attribute):
        return {arg.attr}
    if isinstance(arg, ast.Call):
        return _word(arg.func).union(*map(_values, arg.args))
    if isinstance(arg, ast.Name):
        return {arg.id}
    return _names_in(arg)


def _values(arg: ast.AST) -> set[str]:
    return {name for name in _names_in(arg) if name.startswith(_VALUES)}


def _changed_by(function: ast.FunctionDef) -> set[str]:
    """The names of what events of a function change; of locks, `lock:` and the name."""
    assigned, found = _assigned(function), set[str]()
    for node in ast.walk(function):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        called = node.func
        name = called.id if isinstance(called, ast.Name) else getattr(called, "attr", "")
        if name in _LOCKING:
            found |= {f"lock:{word}" for word in _word(node.args[0])}
        elif name == "add_mm_counter":
            found |= {name}.union(*map(_values, node.args))
        elif name in _CHANGING:
            words, rest = _word(node.args[0]), set[str]().union(*map(_names_in, node.args[1:]))
            behind = set[str]().union(*(assigned.get(other, set()) for other in words | rest))
            found |= words | {other for other in rest | behind if other.startswith(_VALUES)}
            found |= set[str]().union(*(assigned.get(other, set()) for other in words))
    return found


def _callers() -> tuple[dict[str, set[str]], dict[str, set[str]]]:
    """By function: the names in its events, and who calls it."""
    changed: dict[str, set[str]] = {}
    callers: dict[str, set[str]] = {}
    for function in _functions():
        changed.setdefault(function.name, set()).update(_changed_by(function))
        for node in ast.walk(function):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                callers.setdefault(node.func.attr, set()).add(function.name)
    return changed, callers


def _spelled(functions: set[str], callers: dict[str, set[str]]) -> set[str]:
    """The kernel's functions among some, and those that call what is ours."""
    found: set[str] = set()
    seen = set(functions)
    for _ in range(_DEEP):
        found |= {name for f in functions if (name := kernel_name(f)) is not None}
        ours = {f for f in functions if is_ours(f)}
        functions = set().union(*(callers.get(f, set()) for f in ours)) - seen
        seen |= functions
    return found


def writers_text() -> str:
    """The table as it should be."""
    changed, callers = _callers()
    lines = []
    for term in TERMS.values():
        lock = "lock:" if term.kind is Kind.LOCK else ""
        wanted = {lock + name for name in term.writes}
        direct = {name for name, names in changed.items() if wanted & names}
        functions = sorted(_spelled(direct, callers))
        if functions:
            lines.append(f"{term.name}: {' '.join(functions)}\n")
    return _HEAD + "".join(lines)


def main(arguments: list[str]) -> int:
    """Write the table, or say whether it is stale."""
    text = writers_text()
    if "--check" in arguments:
        return int(WRITERS.read_text(encoding="ascii") != text)
    WRITERS.write_text(text, encoding="ascii")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
