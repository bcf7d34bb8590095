"""The processes pane: who there is, their mappings, what they are charged for, who holds pins."""

from __future__ import annotations

from dataclasses import dataclass
from weakref import WeakKeyDictionary

from mmtui.model.bench import Bench
from mmtui.model.selection import Selection
from mmtui.views.glyphs import glyphs
from mmtui.views.lines import Doc, Line, Lines, clip, join, say
from mmtui.views.marks import GLYPHS, Marks, marks_of, worst
from sandbox.machine.memory import Mm
from sandbox.mm.flags import MMF_HAS_PINNED
from sandbox.run.following import Follower
from sandbox.run.session import Session, Step
from sandbox.scenario.language import CpuBlock
from sandbox.truth.state import holds_state, vma_state

__all__ = ["ProcessRow", "ProcessesView", "VmaRow", "clicked", "document", "render", "view"]


@dataclass(frozen=True, slots=True)
class VmaRow:
    """One mapping of a process."""

    region: str
    start: int
    end: int
    perms: str
    notes: str
    mark: str
    selected: bool


@dataclass(frozen=True, slots=True)
class ProcessRow:
    """One living process."""

    name: str
    depth: int
    """Generations below the first process."""
    rss: tuple[tuple[str, int, str, int | None], ...]
    """Non-zero or changed counters: name, pages, mark, old value."""
    has_pinned: bool
    mark: str
    vmas: tuple[VmaRow, ...]
    selected: bool


@dataclass(frozen=True, slots=True)
class ProcessesView:
    """All processes, and what is held by pins."""

    processes: tuple[ProcessRow, ...]
    holds: tuple[tuple[str, str, str], ...]
    """Id, kind, pages."""


def view(bench: Bench, marks: Marks) -> ProcessesView:
    """Look at the processes."""
    session = bench.session
    family = _family(session)
    rows = []
    for name, mm in session.ledger.processes().items():
        rows.append(_row(bench, marks, name, mm, family.depth(name)))
    holds = tuple(
        (id_, hold["kind"], " ".join(hold["pages"]))
        for id_, hold in holds_state(session.ledger).items()
    )
    uring = [hold for hold in session.book.holds if hold.kind == "uring"]
    holds += tuple(("io_uring", "pin", f"{len(hold.pages)} pages") for hold in uring)
    return ProcessesView(tuple(rows), holds)


def _row(bench: Bench, marks: Marks, name: str, mm: Mm, depth: int) -> ProcessRow:
    session, selection = bench.session, bench.selection
    cells = session.machine.memory.cells
    vmas = []
    for vma in session.ledger.vmas(mm):
        region, start, end, perms, notes, _anon = vma_state(session.ledger, vma)
        mark = worst(marks.token(vma + word) for word in range(9))
        chosen = (name, region) == (selection.proc, selection.region)
        vmas.append(VmaRow(region, start, end, perms, notes, mark, chosen))
    rss = []
    for label, member in (("anon", 1), ("file", 0), ("shmem", 3), ("swap", 2)):
        addr = mm.rss_stat(member)
        mark = marks.token(addr)
        if cells[addr] or mark or label == "anon":
            rss.append((label, cells[addr], mark, marks.changes.olds.get(addr)))
    flags = marks.token(mm.flags)
    pinned = bool(cells[mm.flags] & MMF_HAS_PINNED)
    mark = worst([flags, marks.subject(name)])
    mine = name == selection.proc
    return ProcessRow(name, depth, tuple(rss), pinned, mark, tuple(vmas), mine)


class _Family(Follower[Step]):
    """Who forked whom, in step with the actions of a session."""

    def __init__(self) -> None:
        super().__init__()
        self._parents: dict[str, str] = {}
        self._depths: dict[str, int] = {}
        """Generations above a process, as they were asked for since the last fork."""
        self._before: list[tuple[int, str, str | None]] = []
        """The place of each fork, the child, and the parent that one of its name had before."""

    def added(self, step: Step, at: int) -> None:
        """Note the forks of an action."""
        block = step.action
        for action in block.actions if isinstance(block, CpuBlock) else (block,):
            if action.verb == "fork":
                child = action.args["child"]
                self._before.append((at, child, self._parents.get(child)))
                self._parents[child] = action.args["proc"]
                self._depths.clear()

    def dropped(self, step: Step, at: int) -> None:
        """The last action was taken back."""
        while self._before and self._before[-1][0] == at:
            _, child, parent = self._before.pop()
            self._depths.clear()
            if parent is None:
                del self._parents[child]
            else:
                self._parents[child] = parent

    def depth(self, name: str) -> int:
        """Generations above a process, those that are gone included."""
        found = self._depths.get(name)
        if found is None:
            above, seen = name, {name}
            while (above := self._parents.get(above, "")) and above not in seen:
                seen.add(above)
            found = self._depths[name] = len(seen) - 1
        return found


_FAMILIES: WeakKeyDictionary[Session, _Family] = WeakKeyDictionary()


def _family(session: Session) -> _Family:
    family = _FAMILIES.get(session)
    if family is None:
        family = _FAMILIES[session] = _Family()
    family.follow(session.steps)
    return family


def row_at(seen: ProcessesView, y: int) -> tuple[str, str | None] | None:
    """The process of a line, and the region if the line is a mapping."""
    for row in seen.processes:
        if y <= len(row.vmas):
            return row.name, row.vmas[y - 1].region if y else None
        y -= len(row.vmas) + 1
    return None


@dataclass(frozen=True, slots=True)
class ProcessesDoc(Lines):
    """The processes, which knows what changed in them."""

    @property
    def changed(self) -> tuple[int, ...]:
        """The lines with a mark of change."""
        return tuple(y for y, line in enumerate(self.lines) if line and line[0][0][:1] == "*")

    @property
    def goals(self) -> tuple[int, ...]:
        """The last line that changed."""
        return self.changed[-1:]


def render(seen: ProcessesView, width: int) -> ProcessesDoc:
    """Draw the processes as a tree with their mappings below them."""
    lines: list[Line] = []
    focus = None
    for row in seen.processes:
        if row.selected:
            focus = len(lines)
        lines.append(clip(_process_line(row), width))
        lines += [clip(_vma_line(vma, row.depth), width) for vma in row.vmas]
    if seen.holds:
        lines.append(say(" held", "dim"))
        lines += [
            clip(join(((f"   {id_} ", "strong"), (f"{kind} {pages}", ""))), width)
            for id_, kind, pages in seen.holds
        ]
    if not lines:
        lines.append(say(" no process yet: mmap starts one", "dim"))
    return ProcessesDoc(tuple(lines), focus)


def _process_line(row: ProcessRow) -> Line:
    mark = worst([row.mark, *(mark for _, _, mark, _ in row.rss)])
    branch = "  " * (row.depth - 1) + f"{glyphs().branch} " if row.depth else ""
    parts: list[tuple[str, str]] = [(GLYPHS[mark], mark), (branch, "dim")]
    parts.append((row.name, "strong+selected" if row.selected else "strong"))
    parts.append(("  rss", "dim"))
    for label, pages, token, old in row.rss:
        was = f" was {old}" if old is not None else ""
        parts += [(f" {label} ", "dim"), (f"{pages}", token), (was, "dim")]
    if row.has_pinned:
        parts.append(("  HAS_PINNED", row.mark))
    return join(parts)


def _vma_line(vma: VmaRow, depth: int) -> Line:
    indent = "  " * depth + "  "
    token = "selected" if vma.selected else ""
    return join(
        (
            (GLYPHS[vma.mark], vma.mark),
            (indent, ""),
            (vma.region, token),
            (f" {vma.start}-{vma.end} ", ""),
            (vma.perms, vma.mark),
            (f" {vma.notes}", "dim"),
        )
    )


def document(bench: Bench, marks: Marks, width: int, _height: int) -> ProcessesDoc:
    """The processes, for a pane."""
    return render(view(bench, marks), width)


def clicked(bench: Bench, _doc: Doc, line: int, _column: int) -> bool:
    """Select the process or region of a line."""
    row = row_at(view(bench, marks_of(bench)), line)
    return row is not None and bench.point_at(Selection(*row))
