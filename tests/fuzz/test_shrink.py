"""Making small: what is not needed goes, the reason stays."""

from __future__ import annotations

from collections.abc import Callable

from sandbox.fuzz.edits import apply, drops, merged, related, simplified, weight
from sandbox.fuzz.shrink import Shrink

LINES = (
    "mthp 64K madvise", "mmap A R 16p at=32", "mmap B S 4p ro nohuge", "write A R 32 48",
    "touch A R 40 41 r", "fork A C", "write C R 33 40", "exit C", "pin A R 36 44 1 wl",
)  # fmt: skip


def shrunk(
    lines: tuple[str, ...], differs: Callable[[tuple[str, ...]], int | None]
) -> tuple[Shrink, int]:
    """A shrink driven to its end, and how often something was played."""
    shrink, played = Shrink(lines), 0
    while not shrink.done:
        candidates = shrink.candidates()
        played += bool(candidates)
        shrink = Shrink.of_json(shrink.to_json())  # what the journal keeps is all there is
        shrink = shrink.take([differs(each) for each in candidates])
    return shrink, played


def test_what_is_not_needed_goes() -> None:
    def differs(lines: tuple[str, ...]) -> int | None:
        """The 2nd write after a mapping of 4 pages or more, wherever it is."""
        mapped = [line for line in lines if line.startswith("mmap A") and " 1p" not in line]
        writes = [at for at, line in enumerate(lines, 1) if line.startswith("write")]
        return writes[1] if mapped and len(writes) > 1 else None

    shrink, played = shrunk(LINES, differs)
    assert len(shrink.lines) == 3
    assert shrink.lines[0] == "mmap A R 2p"
    assert [line.split()[0] for line in shrink.lines] == ["mmap", "write", "write"]
    assert weight(shrink.lines)[1] == 4
    assert played < 20


def test_what_needs_everything_stays() -> None:
    shrink, _ = shrunk(LINES, lambda _: None)
    assert shrink.lines == LINES
    assert shrink.done


def test_a_long_one_needs_few_rounds() -> None:
    lines = (*(f"write A R {n} {n + 1}" for n in range(100)), "exit A")
    needed = {"write A R 17 18", "write A R 80 81"}
    shrink, played = shrunk(
        lines, lambda each: len(each) if needed <= set(each) and each[-1] == "exit A" else None
    )
    assert set(shrink.lines) == needed | {"exit A"}
    assert played <= 20


def test_the_end_is_cut_off_behind_the_difference() -> None:
    def differs(lines: tuple[str, ...]) -> int | None:
        return lines.index("fork A C") + 1 if "fork A C" in lines else None

    shrink, _ = shrunk(LINES, differs)
    assert shrink.lines == ("fork A C",)


def test_windows_and_what_they_do_together() -> None:
    lines = ("a", "b", "c", "d")
    edits = list(drops(lines, 2, 1))
    assert [apply(edit) for edit in edits] == [
        ("c", "d"), ("a", "b", "d"), ("b", "c", "d"), ("a", "c", "d"), ("a", "b", "d"),
    ]  # fmt: skip
    assert apply(merged(lines, edits[2:4])) == ("c", "d")


def test_simpler_forms_are_in_the_language() -> None:
    found = {*simplified(LINES, finely=False), *simplified(LINES, finely=True)}
    texts = {line for edit in found for line in apply(edit)}
    assert {"mmap B S 16K nohuge", "mmap B S 16K ro", "mmap B S 1p ro nohuge", "mthp 16K madvise",
            "pin A R 36 44 1 w", "pin A R 36 37 1 wl", "write A R 40 48"} <= texts  # fmt: skip
    moved = [apply(edit) for edit in found if "mmap A R 64K" in apply(edit)]
    assert moved
    assert moved[0][3] == "write A R 0 16"


def test_what_is_about_other_memory_goes_first() -> None:
    lines = ("mthp 16K madvise", "mmap A R 4p", "mmap A S 4p", "mmap X R 4p", "write A S 0 1",
             "fork A B", "fork X Y", "write A R 0 1", "write B R 0 1")  # fmt: skip
    first, second, third, _ = map(apply, related(lines))
    assert first == ("mmap A R 4p", "write A R 0 1", "write B R 0 1")
    assert second == (lines[1], lines[5], lines[6], lines[7], lines[8])
    assert third == (lines[0], *second)
