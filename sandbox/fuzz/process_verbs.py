"""Drawing verbs about processes, holds, io_uring, userfaultfd, and what is done from outside."""

from __future__ import annotations

from sandbox.fuzz.draw import Draw, Drawer

__all__ = ["PROCESS_DRAWERS"]

HELD = 40
"""Ids of holds of a scenario."""
BUFFER = 64
"""Most pages of what is held by one action."""


def _fork(d: Draw) -> list[str]:
    proc, child = d.process(), d.fresh_process()
    if proc is None or child is None or len(d.world.spaces) >= 5:
        return []
    d.world.fork(proc, child)
    return [f"fork {proc} {child}"]


def _ending(verb: str) -> Drawer:
    def draw(d: Draw) -> list[str]:
        proc = d.process()
        if proc is None or (len(d.world.spaces) == 1 and not d.flip(0.2)):
            return []
        before = d.ends(proc)
        d.world.end(proc)
        return [*before, f"{verb} {proc}"]

    return draw


def _proc(d: Draw) -> list[str]:
    proc = d.fresh_process()
    if proc is None:
        return []
    d.world.start(proc)
    return [f"proc {proc}"]


def _hold(verb: str) -> Drawer:
    def draw(d: Draw) -> list[str]:
        span = d.any_span()
        if span is None or len(d.world.holds) >= HELD:
            return []
        span = span._replace(end=min(span.end, span.start + BUFFER))
        flags = d.flags(longterm=verb == "pin")  # the kernel warns of a get for the long term
        number = str(len(d.world.holds) + 1)
        certain = d.world.all_of(
            span,
            lambda page: (
                page.allows("w" in flags)
                and not ("l" in flags and page.source)
                and "f" not in flags
            ),
        )
        d.world.holds[number] = certain
        return [f"{verb} {span} {number} {flags}"]

    return draw


def _repeat(d: Draw) -> list[str]:
    span = d.span(lambda page: page.allows(True))
    if span is None or len(d.world.holds) >= HELD:
        return []
    number = str(len(d.world.holds) + 1)
    times = d.random.choice((2, 3, 8, 1024, 1023))
    d.world.holds[number] = True
    flags = d.random.choice(("w", "-"))
    return [f"repeat {span.proc} {span.region} {span.start} {span.start + times} {number} {flags}"]


def _unpin(d: Draw) -> list[str]:
    held = [ident for ident, certain in d.world.holds.items() if certain]
    if not held:
        return []
    ident = d.random.choice(held)
    d.world.holds[ident] = False
    return [f"unpin {ident}"]


def _uring(d: Draw) -> list[str]:
    span = d.span(lambda page: page.allows(True) and page.private)
    if span is None or span.proc in d.world.rings:
        return []
    d.world.rings[span.proc] = {span.proc}
    return [f"uring {span._replace(end=min(span.end, span.start + BUFFER))}"]


def _unuring(d: Draw) -> list[str]:
    owners = list(d.world.rings)
    if not owners:
        return []
    owner = d.random.choice(owners)
    del d.world.rings[owner]
    return [f"unuring {owner}"]


def _split(d: Draw) -> list[str]:
    span = d.any_span()
    if span is None:
        return []
    order = f" {d.random.choice((1, 2, 3, 4, 5))}" if d.flip(0.25) else ""
    return [f"split {span}{order}"]


def _clearrefs(d: Draw) -> list[str]:
    proc = d.process()
    return [f"clearrefs {proc} {d.random.choice((1, 1, 2, 3, 4))}"] if proc else []


def _uffd(d: Draw) -> list[str]:
    span = d.any_span(lambda page: page.sure)
    if span is None:
        return []
    known = d.world.uffds.get(span.proc)
    if known == "inherited":
        return []
    mode = known or d.random.choice(("async", "async", "sigbus"))
    mode = "off" if known and d.flip(0.2) else mode
    d.world.uffds[span.proc] = known or mode
    pages = list(d.world.pages(span))
    certain = all(page is not None and page.sure for page in pages)
    was = {page.uffd for page in pages if page is not None}
    disks = {page.uffd for page in pages if page is not None and page.source in d.world.disks}
    if certain and ((disks if mode == "off" else disks and {mode}) - {"async"}):
        pass  # -EINVAL, and nothing changes
    elif mode == "off" and certain:
        d.world.change(span, uffd="")
    elif mode != "off" and certain and was <= {""}:
        d.world.change(span, uffd=mode)
    else:
        d.world.change(span, sure=False)
    return [f"uffd {span} {mode}"]


def _uffdwp(d: Draw) -> list[str]:
    span = d.any_span(lambda page: bool(page.uffd))
    if span is None or d.world.uffds.get(span.proc, "inherited") == "inherited":
        return []
    return [f"uffdwp {span} {'off' if d.flip(0.35) else 'on'}"]


def _uffdcopy(d: Draw) -> list[str]:
    span = d.any_span(lambda page: bool(page.uffd))
    if span is None or d.world.uffds.get(span.proc, "inherited") == "inherited":
        return []
    return [f"uffdcopy {span}{' wp' if d.flip(0.3) else ''}"]


def _uffdmove(d: Draw) -> list[str]:
    into = d.span(lambda page: page.sure and page.private and bool(page.uffd))
    if into is None or d.world.uffds.get(into.proc, "inherited") == "inherited":
        return []
    length = min(into.end - into.start, BUFFER)
    runs = [
        run for run in d.world.runs(lambda page: page.sure and page.private and page.prot == "rw")
        if run.proc == into.proc
    ]  # fmt: skip
    span = d.part(d.random.choice(runs)) if runs else None
    if span is None:
        return []
    length = min(length, span.end - span.start)
    span, into = span._replace(end=span.start + length), into._replace(end=into.start + length)
    if span.region == into.region and span.start < into.end and into.start < span.end:
        return []
    return [f"uffdmove {span} {into.region} {into.start}"]


PROCESS_DRAWERS: dict[str, Drawer] = {
    "fork": _fork,
    "exit": _ending("exit"),
    "kill": _ending("kill"),
    "proc": _proc,
    "pin": _hold("pin"),
    "get": _hold("get"),
    "repeat": _repeat,
    "unpin": _unpin,
    "uring": _uring,
    "unuring": _unuring,
    "split": _split,
    "clearrefs": _clearrefs,
    "uffd": _uffd,
    "uffdwp": _uffdwp,
    "uffdcopy": _uffdcopy,
    "uffdmove": _uffdmove,
}
