"""Write the reference pages from the tables that the application uses.

    python docs/reference.py            writes keys.md, words.md, rules.md and kernels.md anew
    python docs/reference.py --check    says whether one is stale (exit status 1)

Which functions change a word is found in the kernels' text first (`sandbox.explain.writers`).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from mmtui.commands.model import Group
from mmtui.commands.registry import ALIASES, COMMANDS
from mmtui.views.entries import GLYPH_LEGEND
from mmtui.views.lines import TOKENS
from sandbox.explain import TERMS, Kind, Term, readers, writers, writers_of
from sandbox.kernels import REGISTRY, kernel_by_name
from sandbox.rules import RULES, Scope
from sandbox.rules.not_rules import NOT_RULES
from sandbox.scenario.schedule import HELP as BLOCKS
from sandbox.scenario.verbs import VERBS

HERE = Path(__file__).parent
_NOTE = "Written by `python docs/reference.py` from the tables that the application uses.\n"


def _table(heads: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(heads)} |\n"
    yield f"|{'|'.join('---' for _ in heads)}|\n"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |\n"


def _code(text: str) -> str:
    """Code, also of what has backquotes or nothing in it."""
    if not text:
        return ""
    return f"`{text}`" if "`" not in text else f"`` {text} ``"


# -- keys --------------------------------------------------------------------------------


def keys() -> Iterator[str]:
    """Every key, command, verb and glyph."""
    yield f"# Keys, commands and actions\n\n{_NOTE}"
    yield "In the application `?` has the same, and finds what a key does by typing the key.\n"
    for group in Group:
        rows = (
            (" ".join(map(_code, command.keys)), _code(command.syntax), command.help)
            for command in COMMANDS.values()
            if command.group is group
        )
        yield f"\n## {group.value}\n\n"
        yield from _table(("key", "at `:`", "what it does"), rows)
    yield "\n## What fingers type by habit\n\n"
    yield from _table(("typed", "meant"), ((_code(a), _code(b)) for a, b in ALIASES.items()))
    yield "\n## Actions of the scenario language\n\n"
    yield from _table(
        ("action", "what it does"), ((_code(v.usage), v.meaning) for v in VERBS.values())
    )
    yield "\n## Several CPUs at once\n\n"
    yield from _table(("line", "what it does"), ((_code(a), b) for a, b in BLOCKS))
    yield "\n## Glyphs of the page tables\n\n"
    yield from _table(("glyph", "meaning"), ((_code(a), b) for a, b in GLYPH_LEGEND))
    yield "\n## Colours and marks\n\n"
    yield from _table(("name", "meaning"), iter(TOKENS.items()))


# -- words -------------------------------------------------------------------------------


def words() -> Iterator[str]:
    """Every word, flag and field."""
    yield f"# Words, flags and fields\n\n{_NOTE}"
    yield "In the application Enter explains those at the cursor, `:explain WORD` any.\n"
    for kind in Kind:
        yield f"\n## {kind.value}\n"
        for term in TERMS.values():
            if term.kind is kind:
                yield from _term(term)


def _term(term: Term) -> Iterator[str]:
    yield f"\n### {term.name}\n\n"
    yield " ".join(filter(None, (term.what, term.more))) + "\n\n"
    changed = ", ".join(f"`{name}()`" for name in writers_of(term))
    read = ", ".join(f"[{rule.id}](rules.md#{rule.id.lower()})" for rule in readers(term))
    for label, text in (
        ("Also called", ", ".join(map(_code, term.aliases))),
        ("Biased", term.bias),
        ("Since", term.since),
        ("Read by", read),
        ("Changed by", changed),
        ("Kernel", term.source),
    ):
        if text:
            yield f"- {label}: {text}\n"


# -- rules -------------------------------------------------------------------------------

_WHEN = {
    Scope.EVENT: "after every event that changes a word it reads",
    Scope.PTL: "when a CPU drops its last page-table lock",
    Scope.ACCEPT: "when the kernel takes the decision",
    Scope.QUIET: "when nothing runs",
}


def rules() -> Iterator[str]:
    """Every rule, and what only looks like one."""
    yield f"# Rules\n\n{_NOTE}"
    yield (
        "R refcount, P pincount, M sum of the mapcounts, L large mapcount, K pages mapped, mc a\n"
        "page's mapcount, E entire mapcount, X AnonExclusive, C references of the page or swap\n"
        "cache, T leaf entries; all as numbers of mappings, without the bias of -1.\n"
    )
    for rule in RULES.values():
        yield f"\n### {rule.id}\n\n{rule.statement}\n\n    {rule.formula}\n\n{rule.explanation}\n\n"
        yield f"- Looked at {_WHEN[rule.scope]}\n- Source: {rule.source}\n"
    yield "\n## What looks like a rule and is none\n\n"
    rows = ((item.id, item.statement, item.reason) for item in NOT_RULES.values())
    yield from _table(("", "statement", "when it does not hold"), rows)


# -- kernels -----------------------------------------------------------------------------


def kernels() -> Iterator[str]:
    """Every modelled kernel."""
    yield f"# Kernels\n\n{_NOTE}"
    yield "`K` in the application and `--kernel` on the command line take the id.\n\n"
    yield from _table(("id", "title"), ((_code(e.id), e.title) for e in REGISTRY))
    for entry in REGISTRY:
        kernel = kernel_by_name(entry.id)
        yield f"\n## {entry.id}\n\n{kernel.summary or entry.title}\n\n"
        base = next((cls for cls in kernel.__mro__[1:] if "id" in vars(cls) and cls.id), None)
        if base is not None:
            yield f"- A change of {_code(base.id)}\n"
        own = sorted(n for n, member in vars(kernel).items() if callable(member) and n[:2] != "__")
        if own and base is not None:
            yield f"- Functions that differ: {', '.join(map(_code, own))}\n"
        for rule, why in kernel.rules_off.items():
            yield f"- {rule} is not meant for it: {why}\n"


PAGES = {"keys.md": keys, "words.md": words, "rules.md": rules, "kernels.md": kernels}
"""What makes each page."""


def main(arguments: list[str]) -> int:
    """Write the pages, or say which are stale."""
    stale = writers.main(arguments)
    for name, make in PAGES.items():
        text = "".join(make())
        if "--check" in arguments:
            fresh = (HERE / name).is_file() and (HERE / name).read_text(encoding="utf-8") == text
            if not fresh:
                sys.stderr.write(f"{name} is stale: python docs/reference.py\n")
                stale = 1
        else:
            (HERE / name).write_text(text, encoding="utf-8")
    return stale


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
