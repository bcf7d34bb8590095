"""Where what CPUs allocate beside each other lies: in ranges of their own, by a fixed rule.

What one CPU does alone is put behind all that there is.  When several run at the same time, each of
them has a range for every structure and order, so that the address of the n-th object it allocates
does not depend on when the others allocate theirs, nor on how much.

The ranges begin where memory ended when the CPUs began.  They are cut into rounds, each twice as
long as the one before it; in every round each range has a piece that is in proportion to what is
allocated most.  Memory is only as long as it must be for the last object in it.
"""

from __future__ import annotations

from collections.abc import Hashable

from sandbox.errors import KernelBug
from sandbox.machine.fields import STRUCTS, Struct
from sandbox.machine.handles import PAGE_WORDS, TABLE_ALIGN

__all__ = ["Group", "alignment", "stride"]

MAX_ORDER = 20
"""The highest order of anything: an array of the slots of 4 GiB."""
_SMALL = 16
"""Words that a structure without an alignment of its own is aligned to."""
MOST = ((Struct.PAGE, 0), (Struct.PTE_TABLE, 0), (Struct.PAGE, 9))
"""What a CPU may need by the thousand: their pieces are eight times as long as others'."""
_LONG, _SHORT = 1 << 9, 1 << 6
"""Words of a piece in round 0, as far as objects fit; double that in every further round."""
FIRST = frozenset(
    (
        (Struct.MM, 0),
        (Struct.PMD_TABLE, 0),
        (Struct.PTE_TABLE, 0),
        (Struct.PAGE, 3),
        (Struct.PAGE, 4),
    )
)
"""What there is room for once in round 0 although it is longer than a piece."""


def alignment(struct: Struct, order: int) -> int:
    """What the address of a structure is a multiple of."""
    if struct is Struct.PAGE:
        return PAGE_WORDS << order
    return TABLE_ALIGN if struct in (Struct.PTE_TABLE, Struct.PMD_TABLE) else _SMALL


def stride(struct: Struct, order: int) -> int:
    """Words from one object of a range to the next."""
    size = len(STRUCTS[struct].initial) << order
    return size + -size % alignment(struct, order)


def _classes() -> list[tuple[Struct, int]]:
    """Structures and orders in the order of their ranges: small ones first, arrays last."""
    arrays = [(Struct.XARRAY, order) for order in range(MAX_ORDER + 1)]
    pages = [(Struct.PAGE, order) for order in range(MAX_ORDER + 1)]
    other: list[tuple[Struct, int]] = [
        (s, 0) for s in Struct if s not in (Struct.PAGE, Struct.XARRAY)
    ]
    return sorted(pages + other, key=lambda kind: stride(*kind)) + arrays


CLASSES = _classes()
KNOWN = frozenset(CLASSES)


class Group:
    """CPUs that run at the same time, and how many objects each has in each of its ranges."""

    __slots__ = ("_ends", "_pieces", "base", "counts", "cpus")

    def __init__(self) -> None:
        self.cpus: tuple[int, ...] = ()
        self.base = 0
        """Where the ranges begin; 0 while one CPU is alone."""
        self.counts: dict[tuple[int, Struct, int], int] = {}
        """By CPU, structure and order."""
        self._forget_pieces()

    def _forget_pieces(self) -> None:
        self._pieces: dict[tuple[int, Struct, int], list[tuple[int, int]]] = {}
        """The pieces of each range: where one begins, for how many objects."""
        self._ends: list[int] = []
        """Where each round ends."""

    def copied(self) -> Group:
        """The same group on another machine."""
        other = Group()
        other.cpus, other.base, other.counts = self.cpus, self.base, dict(self.counts)
        return other

    def value(self) -> Hashable:
        """What the addresses to come depend on."""
        return self.base, self.cpus if self.base else None, frozenset(self.counts.items())

    def joined(self, cpu: int, end: int) -> Group:
        """The group with one CPU more, whose ranges begin at the *end* of memory."""
        if cpu in self.cpus:
            return self
        other = Group()
        other.cpus = tuple(sorted((*self.cpus, cpu)))
        other.base = end if self.cpus else 0
        return other

    def place(self, cpu: int, struct: Struct, order: int) -> int:
        """Where the next object of a CPU lies; 0 for behind all that there is.

        Raises:
            KernelBug: such a structure, or an order of it, has no range.
        """
        if not self.base:
            return 0
        if (struct, order) not in KNOWN:
            raise KernelBug(f"a {struct.name.lower()} of order {order} has no range")
        kind = (cpu, struct, order)
        number = self.counts.get(kind, 0)
        self.counts[kind] = number + 1
        for at in range(64):
            if at == len(self._ends):
                self._lay_out(at)
            for start, room in self._pieces.get(kind, ())[at : at + 1]:
                if number < room:
                    return start + number * stride(struct, order)
                number -= room
        raise AssertionError("no round is long enough")

    def taken_back(self, cpu: int, struct: Struct, order: int) -> None:
        """The last object of a range is no more."""
        kind = (cpu, struct, order)
        self.counts[kind] -= 1
        if not self.counts[kind]:
            del self.counts[kind]

    def _lay_out(self, number: int) -> None:
        """Give every range its piece of a round."""
        end = self._ends[-1] if self._ends else self.base
        for struct, order in CLASSES:
            align, step = alignment(struct, order), stride(struct, order)
            words = (_LONG if (struct, order) in MOST else _SHORT) << number
            room = words // step or int(not number and (struct, order) in FIRST)
            for cpu in self.cpus:
                start = end + -end % align
                self._pieces.setdefault((cpu, struct, order), []).append((start, room))
                if room:
                    end = start + room * step
        self._ends.append(end)
