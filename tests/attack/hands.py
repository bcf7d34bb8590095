"""What random hands do to a terminal: keys, lines, pastes, mouse, sizes; one seed, one sequence."""

from __future__ import annotations

from random import Random

from mmtui.commands.registry import COMMANDS
from sandbox.kernels import KERNEL_IDS
from sandbox.scenario.verbs import VERBS, Param, Style

__all__ = ["SIZES", "Hands"]

SIZES = (
    (80, 24), (120, 40), (20, 5), (250, 80), (1, 1), (2, 2), (60, 15), (59, 14), (119, 39),
    (100, 30), (200, 10), (30, 70), (1, 80), (250, 1),
)  # fmt: skip
"""Sizes that have been wrong, and those around a change of the layout."""

_SPECIAL = (
    b"\x1b[A", b"\x1b[B", b"\x1b[C", b"\x1b[D", b"\x1b[5~", b"\x1b[6~", b"\x1b[H", b"\x1b[F",
    b"\t", b"\x1b[Z", b"\r", b"\x1b", b"\x7f", b"\x1bOP", b"\x1b[3~", b"\x02", b"\x06", b"\x01",
    b"\x05", b"\x0b", b"\x15", b"\x17", b"\x10", b"\x0c", b"\x16", b"\x18", b"\x00", b"\x1bx",
    b"\x1b[1;5C", b"\x1b[1;2D", b"\x1b[I", b"\x1b[O", b"\x1b[97;5u", b"\x1b[27u", b"\x1b[57441u",
)  # fmt: skip
"""Arrows, control keys (Ctrl+P is among them) and what newer terminals send."""
_LETTERS = [letter.encode() for letter in "sSbnNoOv]e[AfpuwrdmxcCVahjklgGtzTKBiPL?:/1234567 "]
_OFTEN = (
    [b"s"] * 10 + [b"n"] * 8 + [b"]"] * 8 + [b"S"] * 5 + [b"N"] * 4 + [b"v"] * 3
    + [letter.encode() for letter in "fpuwrdmxcCVa"] * 2
)  # fmt: skip
_JUNK = (
    "", " ", "中文", "\U0001f600\U0001f469\u200d\U0001f467", "e\u0301\u0301\u0301", "-", "--",
    "[bold]", "[/]", "[@click=app.quit]", "%s", "{}", "$(reboot)", "\u202e", "\ufeff", "0x10",
    "1e9", "9" * 400, "A" * 3000, "#", "=", "at=", "at=1", "fd=F", "ro", "shared", "nohuge", "|",
    ";", "cpu9999", "cpu0", "cpu1:",
)  # fmt: skip
_SIZE_WORDS = ("4K", "16K", "64K", "64K", "64K", "128K", "2M", "1M", "3p", "1G", "0K", "5K", "1P",
               "99999999G")  # fmt: skip
_BESIDE = ("write A R 0 1", "fork A B", "dontneed A R 0 16", "read B R 0 4", "munmap A R 3 5")
_ARGUMENTS: dict[str, tuple[str, ...]] = {
    "kernel": tuple(KERNEL_IDS),
    "goto": ("0", "1", "10", "100", "500", "1000", "1000000000", "1000000000000"),
    "step": ("1", "5", "20", "100", "1000", "99999"),
    "back": ("1", "5", "20", "100"),
    "open": ("", "1", "3", "12", "30", "48", "nonesuch", "/etc/passwd", "/dev/null", ".", "/",
             "seed-pin-middle", "1 x"),
    "cat": ("smaps", "pagemap A", "kpageflags", "kpagecount A", "status", "/proc/A/smaps",
            "/proc//", "x"),
    "select": ("A", "A R", "A R 0 4", "A R 5 2", "Q", "A R 0 999999999"),
    "pane": ("1", "story", "log", "9", "-1", "²"),
    "theme": ("", "nord", "textual-light", "ansi", "x"),
    "search": ("a", "pte", "[", "\\", "zzzz"),
    "branch": ("", "1", "2", "0", "99"),
    "cpu": ("", "0", "1", "any", "2", "\u0661"),
}  # fmt: skip
_LEAVING = (3, 17, 28, 0x71)
"""Ctrl+C, Ctrl+Q, Ctrl+\\ and q: they end it, which the fuzzer does when it means to."""


class Hands:
    """A source of random input; everything it returns is drawn from its own generator."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)

    # -- keys ----------------------------------------------------------------------------

    def keys(self) -> bytes:
        """One key or a burst of them, none of which is `q`."""
        choose, pool = self.random.choice, self.random.random
        count = choose((1, 1, 1, 2, 5, 30))
        return b"".join(
            choose(_OFTEN) if pool() < 0.6 else choose([*_LETTERS, *_SPECIAL]) for _ in range(count)
        )

    def noise(self) -> bytes:
        """Bytes that are no keys, half of them no UTF-8 either."""
        there = [byte for byte in range(256) if byte not in _LEAVING]
        return bytes(self.random.choices(there, k=self.random.choice((3, 60))))

    def paste(self) -> tuple[str, bytes]:
        """The kind and the text of a paste, 0 bytes to 105 KB."""
        controls = [c for c in (*range(1, 27), *range(29, 32), 127) if c not in _LEAVING]
        kinds = {
            "large": (b"write A R 0 1 " * 8000)[: self.random.choice((2_000, 20_000, 105_000))],
            "control": bytes(self.random.choices(controls, k=200)),
            "wide": ("中\U0001f600\u0301\u202e\u200b" * 300).encode(),
            "lines": b"fork A B\nwrite A R 0 1\r\nexit A\n" * 20,
            "escapes": b"\x1b[2J\x1b[31m\x1b]0;owned\x07\x1bP+q\x1b\\" * 5,
            "command": b":" + self.line().encode("utf-8", "surrogatepass"),
            "empty": b"",
            "no text": b"\x00\x00\xff\xfe\xc3\x28" * 30,
        }
        kind = self.random.choice(list(kinds))
        return kind, kinds[kind]

    def mouse(self, size: tuple[int, int]) -> bytes:
        """Presses, moves and turns of the wheel, now and then outside the screen."""
        return b"".join(self._mouse(size) for _ in range(self.random.choice((1, 1, 4, 20))))

    def _mouse(self, size: tuple[int, int]) -> bytes:
        choose = self.random.choice
        button = choose((0, 0, 0, 1, 2, 32, 35, 64, 65, 64, 65, 66, 8, 16))
        x, y = (self.random.randint(1, side + 3) for side in size)
        if self.random.random() < 0.05:
            return f"\x1b[<{button};{choose((0, 99999, -3))};{choose((0, 99999, -3))}M".encode()
        press = f"\x1b[<{button};{x};{y}M"
        return (press + (press[:-1] + "m" if button in (0, 1, 2) else "")).encode()

    def size(self) -> tuple[int, int]:
        """A size of the screen."""
        if self.random.random() < 0.6:
            return self.random.choice(SIZES)
        return self.random.randint(20, 250), self.random.randint(5, 80)

    # -- lines ---------------------------------------------------------------------------

    def line(self) -> str:
        """A line for `:`, right or not."""
        draw = self.random.random()
        if draw < 0.45:
            return self._action()
        if draw < 0.8:
            name = self.random.choice([c for c in COMMANDS if c not in ("quit", "save", "help")])
            rest = ("", "", "1", "2", "5", "0", "-1", "x", self.random.choice(_JUNK))
            return f"{name} {self.random.choice(_ARGUMENTS.get(name, rest))}".strip()
        if draw < 0.9:
            return str(self.random.choice((0, 1, 5, 50, 300, 900, 2000, 10**13)))
        if draw < 0.97:
            return self.random.choice(_JUNK) + self.random.choice(_JUNK)
        return f"save saved{self.random.randrange(3)}.scn"

    def _action(self) -> str:
        """A line of the language; one in five has something wrong in it."""
        verb = self.random.choice(list(VERBS.values()))
        if verb.name == "sleep":
            return "sleep 1"
        words = [verb.name, *(w for param in verb.params if (w := self._word(param)))]
        if self.random.random() < 0.2 and len(words) > 1:
            self._spoil(words)
        line = " ".join(words)
        draw = self.random.random()
        if draw < 0.15:
            return f"cpu0 {line} | cpu1 {self.random.choice(_BESIDE)}"
        return f"begin {line}" if draw < 0.2 else line

    def _word(self, param: Param) -> str:
        """A word for a parameter; nothing when an optional one is left out."""
        if param.style is Style.POSITIONAL:
            return self._value(param)
        if self.random.random() >= 0.3:
            return ""
        if param.style is Style.OPTIONAL:
            return self._value(param)
        return param.name + ("=" + self._value(param) if param.style is Style.KEYWORD else "")

    def _value(self, param: Param) -> str:
        choose, kind = self.random.choice, param.kind
        role = kind.role or param.name
        if kind.choices:
            return choose(kind.choices)
        if "proc" in role:
            return choose("AAABCDE")
        if "region" in role:
            return choose("RRSTXY")
        if kind.label in ("SIZE", "CHUNK"):
            return choose(_SIZE_WORDS)
        named = {"F": "FGH", "ID": ("1", "2", "p", "h1"), "MS": "1",
                 "PATH": ("/tmp/x", "/etc/passwd", "/mnt/ext4/f")}  # fmt: skip
        if kind.label in named:
            return choose(named[kind.label])
        pages = {"start": (0, 0, 0, 1, 3, 4, 8, 15, 16, 500, -1, 1 << 40),
                 "end": (1, 2, 4, 5, 8, 16, 16, 16, 17, 512, 1 << 36)}  # fmt: skip
        return str(choose(pages.get(param.name, (0, 1, 2, 3, 4, 9, 16, 100, 1 << 31))))

    def _spoil(self, words: list[str]) -> None:
        """Leave out, put in or change a word, or mix them."""
        at, draw = self.random.randrange(len(words)), self.random.random()
        if draw < 0.3:
            del words[at]
        elif draw < 0.6:
            words.insert(at, self.random.choice(_JUNK))
        elif draw < 0.8:
            words[at] = self.random.choice(_JUNK)
        else:
            self.random.shuffle(words)
