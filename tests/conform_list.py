"""Write the list of what differs: ``python -m tests.conform_list``, after something is put right.

It plays every recording in the tree and writes `recordings/differ.txt` and the README's table.
``--add FOLDER`` packs what `mmtui record -o FOLDER` wrote into the tree first.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

from sandbox.conform.packed import PACKED, name_of, packed, read_packed, recordings_in
from sandbox.conform.states import ConformReport, conform_paths
from sandbox.conform.text import markdown_report
from tests.conftest import RECORDINGS

HEAD = """\
# What does not match yet, written by `python -m tests.conform_list`: for states the folder and the
# scenario, for orders of stores the folder, the scenario and the action.
"""
BEGIN, END = "<!-- conformance: begin -->\n", "<!-- conformance: end -->\n"
README = Path(__file__).parent.parent / "README.md"


def differences(report: ConformReport) -> list[str]:
    """Return the lines of the list."""
    states = [
        f"{kernel.kernel} {scenario.scenario}"
        for kernel in report.kernels.values()
        for scenario in kernel.scenarios
        if not scenario.ok
    ]
    orders = [
        f"{kernel}-micro {order.scenario} {order.action}"
        for kernel, found in report.orders.items()
        for order in found
        if order.mismatch
    ]
    return states + orders


def add(folder: Path) -> None:
    """Pack the recordings of a folder of kernels into the tree."""
    for kernel in sorted(folder.glob("*/")):
        for file in recordings_in(kernel):
            text = read_packed(str(file), "a recording")
            (RECORDINGS / kernel.name).mkdir(exist_ok=True)
            (RECORDINGS / kernel.name / (name_of(file) + PACKED)).write_bytes(packed(text))


def main() -> None:
    """Compare everything, and write both."""
    parser = argparse.ArgumentParser(prog="python -m tests.conform_list", description=__doc__)
    parser.add_argument("--add", type=Path, metavar="FOLDER", help="recordings to pack")
    asked = parser.parse_args()
    if asked.add:
        add(asked.add)
    report = conform_paths([RECORDINGS])
    lines = differences(report)
    (RECORDINGS / "differ.txt").write_text(HEAD + "".join(f"{line}\n" for line in lines))
    table = list(itertools.takewhile(lambda row: row[:1] != "#", markdown_report(report)))
    while not table[-1]:
        table.pop()
    before, _, rest = README.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    README.write_text(before + BEGIN + "".join(f"{row}\n" for row in table) + END + after)


if __name__ == "__main__":
    main()
