"""From an action of the language to the call that does it, with every check first.

`plan` raises `UsageError` for what cannot be meant (unknown names, ranges outside a region, a
verb this kernel lacks) before anything has happened; what a kernel would answer with an errno is
left to the kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from sandbox.arch.arm64.pgtable import (
    HPAGE_PMD_ORDER,
    PTE_CONT,
    PTE_HUGE,
    PTE_SPECIAL,
    PTE_VALID,
    pmd_index,
    pmd_table,
    pte_advance_pfn,
    pte_index,
    pte_mkclean,
    pte_mkold,
    pte_page,
    pte_pfn,
)
from sandbox.errors import UsageError
from sandbox.kernels.base import Kernel
from sandbox.machine.calls import Call
from sandbox.machine.memory import Mm
from sandbox.mm.flags import (
    HOST_SHMEM,
    HOST_TMPFS,
    HOST_XFS,
    VM_ACCOUNT,
    VM_HUGEPAGE,
    VM_MAYSHARE,
    VM_MAYWRITE,
    VM_NOHUGEPAGE,
    VM_READ,
    VM_SHARED,
    VM_WRITE,
)
from sandbox.run.own_verbs import OWN_HANDLERS, check_meaning
from sandbox.run.planner import REGION_PAGES, Planner
from sandbox.run.service_plan import SERVICE_HANDLERS
from sandbox.scenario.language import Action
from sandbox.syscalls import NO_FILE, MapRequest, Ring

if TYPE_CHECKING:
    from sandbox.truth.ledger import Ledger

Handler = Callable[["Planner"], Call]


def plan(
    ledger: Ledger,
    action: Action,
    kernel: Kernel,
    step: int,
    places: dict[str, int],
    *,
    starting: bool = False,
) -> Call:
    """The kernel function that does *action* as step number *step*; raises `UsageError`.

    *places* collects where regions new to the machine go, for all actions that begin together.
    *starting* has every verb start the process that it names if there is none, not `mmap` alone:
    the recording rig does so, also after a process has died.
    """
    handler = HANDLERS.get(action.verb)
    if handler is None:
        raise UsageError(
            f"'{action.verb}' is not modelled yet", action.where, "one of " + ", ".join(HANDLERS)
        )
    planner = Planner(ledger, action, kernel, step, places, starting=starting)
    check_meaning(planner)
    call = handler(planner)
    if planner.started is None:
        return call
    return call._replace(
        function="sys_in_new_process", args=(planner.started, call.function, call.args)
    )


def places_of(calls: Iterable[Call]) -> dict[str, int]:
    """Where the regions go that calls of one block name: their base by name.

    They may not have come to naming them yet.
    """
    places: dict[str, int] = {}
    for call in calls:
        if call.function == "sys_mmap":
            request: Any = call.args[1]
            places[request.region] = request.base
        elif call.function in ("sys_mremap", "sys_execve"):
            at = 3 if call.function == "sys_mremap" else 1
            region, base = call.args[at : at + 2]
            places[str(region)] = base  # type: ignore[assignment]  # a page number, as planned
    return places


def _access(p: Planner) -> Call:
    mm = p.mm()
    start, end = p.span(mm)
    write = p.action.verb == "write" or p.args.get("mode") == "w"
    ring = p.last_ring(mm)
    return p.call("sys_access", mm, start, end, write, p.step, not write, ring)


def _order(p: Planner, pages: int) -> int:
    if pages & (pages - 1) or not 1 < pages <= 1 << HPAGE_PMD_ORDER:
        raise p.refuse("not a folio size", "a power of two from 16K to 2M")
    return pages.bit_length() - 1


def _mthp(p: Planner) -> Call:
    order, on = _order(p, p.args["size"]), p.args["mode"] != "never"
    return p.call("sys_mthp", order, on)


def _mmap(p: Planner) -> Call:
    a = p.args
    processes = p.ledger.processes()
    mm: Mm | str = processes.get(a["proc"], a["proc"])
    base = p.base(a["region"])
    at, size = a.get("at", 0), a["size"]
    if at + size > REGION_PAGES:
        raise p.refuse("the region is too large", "at most 8G, at= included")
    request = MapRequest(
        a["region"], base, base + at, size, _vm_flags(p), _file(p), a.get("pgoff", 0)
    )
    return p.call("sys_mmap", mm, request)


def _file(p: Planner) -> int:
    name = p.args.get("fd")
    if not name:
        return 0
    mapping, _ = p.file(name)
    mm = p.ledger.processes().get(p.args["proc"])
    if p.starting and mm is not None and not p.ledger.book.opened(mm, name):
        return NO_FILE
    return int(mapping)


def _make_file(p: Planner) -> Call:
    name, size = p.args["name"], p.args["size"]
    if name in p.ledger.book.files:
        raise p.refuse(f"there is a file {name} already", "a new name")
    if p.action.verb == "memfd":
        return p.call("sys_open", name, size, HOST_SHMEM, 0)
    host = HOST_TMPFS if p.args["path"].startswith("/t/") else HOST_XFS
    chunk = p.args.get("chunk") or size
    return p.call("sys_open", name, size, host, min(chunk, 512))


def _shmem(p: Planner) -> Call:
    order, on = _order(p, p.args["size"]), p.args["mode"] != "never"
    return p.call("sys_shmem", order, on)


def _vm_flags(p: Planner) -> int:
    a = p.args
    vm_flags = VM_READ | VM_MAYWRITE | (0 if a.get("ro") else VM_WRITE)
    if a.get("shared"):
        vm_flags |= VM_SHARED | VM_MAYSHARE
    elif vm_flags & VM_WRITE:  # accountable_mapping()
        vm_flags |= VM_ACCOUNT
    if a.get("nohuge"):
        return vm_flags | VM_NOHUGEPAGE
    return vm_flags if a.get("nomadv") else vm_flags | VM_HUGEPAGE


def _fork(p: Planner) -> Call:
    mm, child = p.mm(), p.args["child"]
    if child in p.ledger.processes():
        raise p.refuse(f"there is a process {child} already", "a new name")
    return p.call("sys_fork", mm, child)


def _proc(p: Planner) -> Call:
    name = p.args["proc"]
    if name in p.ledger.processes():
        raise p.refuse(f"there is a process {name} already", "a new name")
    return p.call("sys_proc", name)


def _exit(p: Planner) -> Call:
    mm = p.mm()
    return p.call("sys_exit", mm, p.last_ring(mm))


def _munmap(p: Planner) -> Call:
    mm = p.mm()
    start, end = p.span(mm)
    return p.call("sys_munmap", mm, start, end)


def _madvise(p: Planner) -> Call:
    mm = p.mm()
    start, end = p.span(mm)
    return p.call("sys_madvise", mm, start, end, p.action.verb)


def _mprotect(p: Planner) -> Call:
    mm = p.mm()
    start, end = p.span(mm)
    prot = {"r": VM_READ, "rw": VM_READ | VM_WRITE, "-": 0}[p.args["prot"]]
    return p.call("sys_mprotect", mm, start, end, prot)


def _mlock(p: Planner) -> Call:
    mm = p.mm()
    start, end = p.span(mm)
    return p.call("sys_mlock", mm, start, end, p.action.verb == "mlock")


def _mremap(p: Planner) -> Call:
    mm = p.mm()
    start, end = p.span(mm)
    region = p.args["to_region"]
    base = p.base(region)
    new_start = base + p.args["to_page"]
    if p.args["to_page"] + end - start > REGION_PAGES:
        raise p.refuse("the target is too far", "a range within 8G")
    dontunmap = bool(p.args.get("dontunmap"))
    return p.call("sys_mremap", mm, start, end, region, base, new_start, dontunmap)


def _pin(p: Planner) -> Call:
    mm = p.mm()
    start, end = p.span(mm)
    id_, verb, flags = p.args["id"], p.action.verb, p.args["flags"]
    if p.ledger.book.held(id_):
        raise p.refuse(f"something is held under {id_} already", "a free id")
    kind = "pin" if verb == "pin" else "get"  # repeat is FOLL_GET
    return p.call("sys_pin", mm, start, end, id_, kind, flags, verb == "repeat")


def _unpin(p: Planner) -> Call:
    id_ = p.args["id"]
    book = p.ledger.book
    held = book.held(id_)
    if not held:
        return p.call("sys_unpin", id_, "get", ())
    (hold,) = held
    return p.call("sys_unpin", id_, hold.kind, hold.pages)


def _uring(p: Planner) -> Call:
    mm = p.mm()
    start, end = p.span(mm)
    book = p.ledger.book
    ring = p.ring(mm) or Ring(len(book.ring_owners) + 1, mm, is_new=True)
    return p.call("sys_uring", mm, start, end, ring)


def _unuring(p: Planner) -> Call:
    mm = p.mm()
    return p.call("sys_unuring", mm, p.ring(mm))


def _block_entries(p: Planner, mm: Mm, block: int) -> list[int]:
    cells = p.ledger.cells
    n: int = p.kernel.CONT_PTES
    table = cells[mm.pud(block)]
    pmd = cells[table + pmd_index(block)] if table else 0
    if not pmd or pmd & PTE_HUGE:
        return [0] * n
    start = pmd_table(pmd) + pte_index(block)
    return list(cells[start : start + n])


def _check_block(p: Planner, mm: Mm, block: int, fold: bool) -> None:
    """Refuse a block that cannot be folded (or is not folded), saying why."""
    entries = _block_entries(p, mm, block)
    region, page = p.ledger.region_of(block)
    where = f"the block at {p.args['proc']}.{region} page {page}"
    n = len(entries)
    if not fold:
        if not all(e & PTE_CONT for e in entries):
            raise p.refuse(f"{where} is not folded", "a block whose entries have PTE_CONT")
        return
    if any(e & PTE_CONT for e in entries):
        raise p.refuse(f"{where} is folded already", "a block of plain entries")
    if not all(e & PTE_VALID and not e & PTE_SPECIAL for e in entries):
        raise p.refuse(f"{where} is not fully mapped", f"{n} valid entries")
    first = pte_mkold(pte_mkclean(entries[0]))
    if pte_pfn(first) % n:
        raise p.refuse(
            f"{where} does not start at an aligned frame", f"a frame number divisible by {n}"
        )
    if any(pte_mkold(pte_mkclean(e)) != pte_advance_pfn(first, i) for i, e in enumerate(entries)):
        raise p.refuse(
            f"{where} has entries that differ", "consecutive frames with equal permissions"
        )
    folio = p.ledger.folio(pte_page(entries[0]))
    if folio.nr_pages < n:
        raise p.refuse(f"{where} maps small folios", f"one folio of {n} pages or more")


def _fold(p: Planner) -> Call:
    mm = p.mm()
    start, end = p.span(mm)
    fold = p.action.verb == "fold"
    if not p.kernel.has_contpte:
        raise p.refuse(
            f"kernel {p.kernel.id} has no contpte layer",
            "6.9 or later, or a proposal of the thread",
        )
    for block in range(start & -p.kernel.CONT_PTES, end, p.kernel.CONT_PTES):
        _check_block(p, mm, block, fold)
    if fold:
        return p.call("sys_fold", mm, start, end)
    return p.call("sys_unfold", mm, start, end)


def _swap(p: Planner) -> Call:
    on = p.args["mode"] == "on"
    return p.call("sys_swap", on)


def _split(p: Planner) -> Call:
    mm = p.mm()
    start, end = p.span(mm)
    order = p.args.get("order", 0)
    return p.call("sys_split", mm, start, end, order)


def _poke(p: Planner) -> Call:
    mm = p.mm()
    start, end = p.span(mm)
    return p.call("sys_poke", mm, start, end, p.step)


def _nop(p: Planner) -> Call:
    return p.call("sys_nop")


def _drain(p: Planner) -> Call:
    return p.call("sys_drain")


def _autodrain(p: Planner) -> Call:
    return p.call("sys_autodrain", p.args["mode"] == "on")


def _reuse(p: Planner) -> Call:
    return p.call("sys_reuse", p.args["mode"] == "on")


HANDLERS: dict[str, Handler] = {
    "mthp": _mthp,
    "mmap": _mmap,
    "touch": _access,
    "write": _access,
    "read": _access,
    "fork": _fork,
    "exit": _exit,
    "kill": _exit,
    "proc": _proc,
    "dontneed": _madvise,
    "dontfork": _madvise,
    "dofork": _madvise,
    "populate_read": _madvise,
    "populate_write": _madvise,
    "memfd": _make_file,
    "file": _make_file,
    "shmem": _shmem,
    "remove": _madvise,
    "collapse": _madvise,
    "swap": _swap,
    "free": _madvise,
    "cold": _madvise,
    "wipeonfork": _madvise,
    "split": _split,
    "poke": _poke,
    "munmap": _munmap,
    "mprotect": _mprotect,
    "mlock": _mlock,
    "munlock": _mlock,
    "mremap": _mremap,
    "pin": _pin,
    "get": _pin,
    "repeat": _pin,
    "unpin": _unpin,
    "uring": _uring,
    "unuring": _unuring,
    "fold": _fold,
    "unfold": _fold,
    "drain": _drain,
    "autodrain": _autodrain,
    "reuse": _reuse,
    "sleep": _nop,
    "quiet": _nop,
    "loud": _nop,
    "sysfs": _nop,
    **SERVICE_HANDLERS,
    **OWN_HANDLERS,
}
