"""What an attack found: counts, faults with reproductions, and one line of JSON at its end."""

from __future__ import annotations

import json
import re
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Fault", "Report", "scratch"]


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is not as it must be."""

    kind: str
    """A word or two: `traceback`, `hang`, `lost`, `residue` ..."""
    text: str
    file: str = ""
    """Where its reproduction was written, if it has one."""


@dataclass(slots=True)
class Report:
    """The outcome of one attack."""

    name: str
    seed: int | None = None
    into: Path | None = None
    """Folder for reproductions; None writes none."""
    tried: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    faults: list[Fault] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether something was tried and nothing failed."""
        return self.tried > 0 and not self.faults

    @property
    def failed(self) -> int:
        """How many faults there were."""
        return len(self.faults)

    def fault(self, kind: str, text: str, reproduction: str = "") -> None:
        """Note a fault; what leads to it is written to a file of its own."""
        path = ""
        if self.into is not None and reproduction:
            self.into.mkdir(parents=True, exist_ok=True)
            safe = re.sub(r"\W+", "-", kind)
            file = self.into / f"{self.name}-{len(self.faults):03}-{safe}.txt"
            file.write_text(f"{kind}: {text}\n\n{reproduction}\n", "utf-8", "backslashreplace")
            path = str(file)
        self.faults.append(Fault(kind, text, path))

    def expect(self, held: bool, kind: str, text: str, reproduction: str = "") -> bool:
        """Note a fault unless something held; whether it did."""
        if not held:
            self.fault(kind, text, reproduction)
        return held

    def add(self, other: Report) -> None:
        """Add what another attack of the same kind found."""
        self.tried += other.tried
        self.counts.update(other.counts)
        self.faults += other.faults

    def take(self, line: dict[str, Any]) -> None:
        """Add what another process found, from its line."""
        self.tried += line["tried"]
        self.counts.update(line["counts"])
        for text in line["faults"]:
            kind, _, rest = text.partition(": ")
            self.faults.append(Fault(kind, rest))

    def kinds(self) -> dict[str, int]:
        """How many faults there were of each kind."""
        return dict(Counter(fault.kind for fault in self.faults))

    def line(self, **more: object) -> str:
        """One line of JSON: counts, and the first faults."""
        shown = [f"{f.kind}: {f.text[:300]}" + f" [{f.file}]" * bool(f.file) for f in self.faults]
        return json.dumps(
            {
                "attack": self.name,
                "seed": self.seed,
                "tried": self.tried,
                "failed": self.failed,
                "counts": dict(sorted(self.counts.items())),
                "kinds": self.kinds(),
                "faults": shown[:20],
            }
            | more
        )

    def __str__(self) -> str:
        """All faults, for the message of a failing test."""
        return "\n".join(f"{f.kind}: {f.text}" for f in self.faults) or "nothing was tried"


def scratch(name: str) -> Path:
    """A new folder for what an attack makes."""
    return Path(tempfile.mkdtemp(prefix=f"mmtui-{name}-"))
