"""Handlers of verbs about what the kernel offers beside plain mappings.

KSM, userfaultfd, exec, clear_refs, and the page cache going back; see `sandbox.run.plan`
for how a handler works.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sandbox.arch.arm64.pgtable import PTE_SPECIAL, pte_pfn, pte_present
from sandbox.machine.calls import Call
from sandbox.machine.handles import Folio, page_of_pfn
from sandbox.machine.memory import Mm
from sandbox.mm.flags import PG_ksm

if TYPE_CHECKING:
    from sandbox.run.planner import Planner

    Handler = Callable[[Planner], Call]


def _clearrefs(p: Planner) -> Call:
    mm, value = p.mm(), p.args["value"]
    return p.call("clear_refs_write", mm, value)


def _dropcache(p: Planner) -> Call:
    return p.call("sys_drop_caches")


def _fsync(p: Planner) -> Call:
    name = p.args["name"]
    mapping, size = p.file(name)
    return p.call("sys_fsync", mapping, size)


def _exec(p: Planner) -> Call:
    mm, region = p.mm(), p.args["region"]
    base = p.base(region)
    return p.call("sys_execve", mm, region, base, p.step, p.last_ring(mm))


def _unmerged(p: Planner) -> Call:
    """Advice that walks back from a folio to its mappings: no way leads there from a merged one."""
    mm = p.mm()
    start, end = p.span(mm)
    cells, verb = p.ledger.cells, p.action.verb
    for addr, _, pte in p.ledger.leaf_entries(mm) if mm else ():
        if not start <= addr < end or not pte_present(pte) or pte & PTE_SPECIAL:
            continue
        if cells[Folio(cells[page_of_pfn(pte_pfn(pte)).compound_head]).flags] & PG_ksm:
            raise p.refuse(f"'{verb}' of merged pages is not modelled", "pages of no 'ksm'")
    return p.call("sys_madvise", mm, start, end, verb)


def _other_span(p: Planner, region: str, first: int, pages: int) -> int:
    """First virtual page of *pages* pages of another region."""
    p.within(first + pages)
    return int(p.place(region)) + first


def _ksm(p: Planner) -> Call:
    mm, other = p.mm(), p.mm(p.args["with_proc"])
    start, end = p.span(mm)
    region, first = p.args["with_region"], p.args["with_page"]
    at = _other_span(p, region, first, end - start)
    if mm == other and at < end and start < at + end - start:
        raise p.refuse("a page cannot be merged with itself", "two ranges that do not overlap")
    return p.call("sys_ksm", mm, start, end, other, at)


def _madvise_unmerge(p: Planner) -> Call:
    mm = p.mm()
    start, end = p.span(mm)
    return p.call("sys_madvise", mm, start, end, "unmerge")


def _uffd_range(p: Planner) -> tuple[Mm, int, int]:
    """The range of a userfaultfd verb, on a kernel that has write-protection."""
    mm = p.mm()
    start, end = p.span(mm)
    if not p.kernel.has_uffd_wp:
        raise p.refuse(
            f"kernel {p.kernel.id} has no userfaultfd write-protection on arm64", "6.12 or later"
        )
    return mm, start, end


def _uffd(p: Planner) -> Call:
    mm, start, end = _uffd_range(p)
    mode = p.args["mode"]
    if mode == "off":
        return p.call("sys_uffd_unregister", mm, start, end)
    return p.call("sys_uffd_register", mm, start, end, mode == "async")


def _uffdwp(p: Planner) -> Call:
    mm, start, end = _uffd_range(p)
    return p.call("sys_uffd_wp", mm, start, end, p.args["mode"] == "on")


def _uffdcopy(p: Planner) -> Call:
    mm, start, end = _uffd_range(p)
    return p.call("sys_uffd_copy", mm, start, end, p.step, bool(p.args.get("wp")))


def _uffdmove(p: Planner) -> Call:
    mm, start, end = _uffd_range(p)
    region, first = p.args["to_region"], p.args["to_page"]
    dst = _other_span(p, region, first, end - start)
    if dst < end and start < dst + end - start:
        raise p.refuse("source and target overlap", "a target apart from the source")
    return p.call("sys_uffd_move", mm, start, end, dst)


SERVICE_HANDLERS: dict[str, Handler] = {
    "clearrefs": _clearrefs,
    "dropcache": _dropcache,
    "fsync": _fsync,
    "exec": _exec,
    "pageout": _unmerged,
    "softoffline": _unmerged,
    "ksm": _ksm,
    "unmerge": _madvise_unmerge,
    "uffd": _uffd,
    "uffdwp": _uffdwp,
    "uffdcopy": _uffdcopy,
    "uffdmove": _uffdmove,
}
