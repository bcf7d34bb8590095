"""Where each number of a state lies in its bits: nodes first, then fields, then room for more.

Nothing straddles a word of 64 bits, so that a compiled walker reads each number with one shift.
"""

from __future__ import annotations

from collections.abc import Sequence

from sandbox.explore.tables import Field, Tables

__all__ = ["Layout", "TooSmall"]

WORD = 64
MOST_NODES = 6
"""Bits that a CPU's node has at least, while nodes are still found."""
AMPLE = 3
"""Bits more where they cost nothing but memory."""
SPARE = 20
"""Fields that there is room for though they are not known yet, each of two bits."""


class TooSmall(Exception):
    """A number does not fit into its place any more."""


class Layout:
    """Places of numbers: the nodes of CPUs, then fields in their order.

    What does not fit is found by `check`; a layout made then has more room for it.
    """

    def __init__(
        self, tables: Tables, before: Layout | None, *, exact: bool = False, ample: bool = False
    ) -> None:
        """With *exact* there is just room for what is known; with *ample* more than is likely."""
        self.count = tables.count
        nodes = [len(own.nodes) for own in tables.engine.automata]
        if exact:
            values = [_bits(len(field.values)) for field in tables.fields]
            self.bits = [*map(_bits, nodes), *values]
        else:
            more, spare = (AMPLE, 4 * SPARE) if ample else (0, SPARE)
            self.bits = [max(MOST_NODES, _bits(2 * number)) + 2 * more for number in nodes]
            self.bits += [bits + more for bits in _roomy(tables.fields)]
            self.bits += [2 + more] * spare
        for at, bits in enumerate(before.bits[: len(self.bits)] if before is not None else ()):
            self.bits[at] = max(self.bits[at], bits)
        self.places: list[tuple[int, int]] = []
        """(Word, shift) of each number."""
        self._place()

    def _place(self) -> None:
        free: list[int] = []
        for bits in self.bits:
            word = next((at for at, room in enumerate(free) if room >= bits), len(free))
            if word == len(free):
                free.append(WORD)
            self.places.append((word, WORD - free[word]))
            free[word] -= bits
        self.words = len(free)
        self.shifts = [word * WORD + shift for word, shift in self.places]
        self.masks = [(1 << bits) - 1 for bits in self.bits]

    def check(self, at: int, number: int) -> None:
        """Raise `TooSmall` if the number at place *at* has no room for this one."""
        if at >= len(self.bits) or number >> self.bits[at]:
            raise TooSmall

    def pack(self, nodes: Sequence[int], values: Sequence[int]) -> int:
        """A state as one number."""
        state = 0
        for at, number in enumerate((*nodes, *values)):
            if number:
                self.check(at, number)
                state |= number << self.shifts[at]
        return state

    def unpack(self, state: int) -> tuple[list[int], list[int]]:
        """(Nodes, values of fields), those of fields that are not known yet being 0."""
        numbers = [
            state >> shift & mask for shift, mask in zip(self.shifts, self.masks, strict=True)
        ]
        return numbers[: self.count], numbers[self.count :]


def _bits(count: int) -> int:
    """Bits for so many numbers."""
    return max(1, (count - 1).bit_length())


def _roomy(fields: Sequence[Field]) -> list[int]:
    """Bits for fields: most are a yes or a no, of some kinds none is."""
    many = {field.kind for field in fields if len(field.values) > 2}
    return [
        _bits(len(field.values)) + 1 if len(field.values) > 2 else 1 + (field.kind in many)
        for field in fields
    ]
