"""The whole corpus, or its cases with a word in their labels: `python -m tests.hostile [WORD]`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.hostile.corpus import corpus
from tests.hostile.limits import faults_of


def main() -> int:
    """Say what is wrong, and how many cases there were."""
    word = sys.argv[1] if len(sys.argv) > 1 else ""
    cases = wrong = 0
    with tempfile.TemporaryDirectory(prefix="mmtui-hostile-") as name:
        folder = Path(name)
        for case in corpus(folder):
            if word not in case.label:
                continue
            cases += 1
            faults = faults_of(case, folder)
            wrong += bool(faults)
            for fault in faults:
                sys.stdout.write(f"{case.label!a}: {fault}\n")
                sys.stdout.flush()
    sys.stdout.write(f"{cases} cases, {wrong} answered wrongly\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
