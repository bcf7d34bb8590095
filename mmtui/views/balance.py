"""References and what needs them, as two bars on one scale."""

from __future__ import annotations

from typing import NamedTuple

from mmtui.views.counters import Reader
from mmtui.views.glyphs import glyphs
from mmtui.views.lines import Line, join
from mmtui.views.marks import GLYPHS, worst
from sandbox.machine.memory import Folio
from sandbox.mm.flags import GUP_PIN_COUNTING_BIAS

__all__ = ["Balance", "Need", "balance_of", "bar_lines"]

_WIDE = 96
"""From so many cells on, what needs references is said beside the bar."""


class Need(NamedTuple):
    """Something that needs references of a folio."""

    number: int
    name: str
    glyph: str
    token: str
    each: int = 1
    """References for one of them."""


class Balance(NamedTuple):
    """The references of a folio against what needs them."""

    refs: int
    needs: tuple[Need, ...]

    @property
    def needed(self) -> int:
        """References that are accounted for."""
        return sum(need.number * need.each for need in self.needs)

    @property
    def text(self) -> str:
        """What needs them, in words: `18 mappings + 1 pin`."""
        parts = []
        for need in self.needs:
            plural = "es" if need.name.endswith("ch") else "s"
            name = need.name if need.number == 1 else need.name + plural
            if need.name.endswith("cache"):
                name = need.name
            parts.append(f"{need.number} {name}" + (f" of {need.each}" if need.each > 1 else ""))
        return " + ".join(parts) or "nothing"

    @property
    def verdict(self) -> str:
        """How far the two are apart."""
        rest = self.refs - self.needed
        if not rest:
            return ""
        if rest > 0:
            return f"{rest} more than needed"
        return f"{-rest} reference{'s' * (rest != -1)} short"


def balance_of(reader: Reader, folio: Folio) -> Balance:
    """The references of a folio, and what needs them, as the rules count it."""
    mark = glyphs().mapping
    needs = [Need(reader.mapped(folio), "mapping", mark, "read")]
    cached = reader.cached(folio)
    if cached:
        name, letter = ("swap cache", "S") if reader.in_swap_cache(folio) else ("page cache", "C")
        needs.append(Need(cached, name, letter, "write"))
    each = 1 if folio.large else GUP_PIN_COUNTING_BIAS
    needs.append(Need(reader.pins(folio), "pin", "P", "excl", each))
    needs.append(Need(reader.gets(folio), "get", "g", "excl"))
    needs.append(Need(reader.batched(folio), "LRU batch", "b", "dim"))
    refs = int(reader.cells[folio._refcount])
    return Balance(refs, tuple(need for need in needs if need.number > 0))


def bar_lines(reader: Reader, folio: Folio, width: int, label: int) -> list[Line]:
    """Two lines: the references, and below them what needs them, each on the same scale."""
    seen = balance_of(reader, folio)
    addr = folio._refcount
    mark = worst((reader.marks.token(addr), reader.marks.subject(reader.name(folio))))
    old = reader.marks.changes.olds.get(addr)
    was = f"  was {old}" if old is not None else ""
    numbers = f"  {seen.refs}"
    bulk = sum(need.number * (need.each - 1) for need in seen.needs)
    refs, needed = max(seen.refs - bulk, 0), seen.needed - bulk
    room = max(width - label - 4 - max(len(numbers) + len(was), 8), 4)
    if max(refs, needed) > room:
        room = max(room - 16, 4)
    scale = max(1, -(-max(refs, needed, 1) // room))
    bar = _bar(refs, seen, needed, scale)
    per = f"  (a cell = {scale})" if scale > 1 else ""
    loud = "alarm" if mark == "violation" else mark
    first = join(
        ((GLYPHS[mark], mark), (f"  {'refcount':<{label}} ", "dim")),
        bar, ((numbers, loud or "strong"), (was, "dim"), (per, "dim")),
    )  # fmt: skip
    short = seen.refs < seen.needed
    token = mark if short and mark in ("violation", "window") else ""
    cells = _needs(seen, refs, scale, token)
    glyph = GLYPHS[token] if token else " "
    second = join(
        ((glyph, token), (f"  {'needed':<{label}} ", "dim")),
        cells, ((f"  {seen.needed}", token or "strong"),),
    )  # fmt: skip
    said = f"= {seen.text}" + (f": {seen.verdict}" if seen.verdict else "")
    if width >= _WIDE:
        return [first, join(second, ((f" {said}", token or "dim"),))]
    indent = label + 4 if width >= label + 4 + len(said) else 3
    return [first, second, join(((" " * indent, ""), (said, token or "dim")))]


def _bar(refs: int, seen: Balance, needed: int, scale: int) -> Line:
    """The references; those that nothing needs are another shape."""
    bar = glyphs().bar
    used = min(refs, needed) if refs > needed else refs
    whole = -(-refs // scale)
    used_cells = min(whole, -(-used // scale))
    return join(((bar * used_cells, "bar"), ("?" * (whole - used_cells), "dim")))


def _needs(seen: Balance, refs: int, scale: int, token: str) -> Line:
    """What needs references, one shape for each; what sticks out of the references is marked."""
    spans: list[tuple[str, str]] = []
    at, have = 0, -(-refs // scale)
    total = 0
    for need in seen.needs:
        total += need.number
        end = -(-total // scale)
        for cell in range(at, end):
            out = cell >= have
            spans.append(
                ("!" if out and token else need.glyph, token if out and token else need.token)
            )
        at = max(at, end)
    return join(spans)
