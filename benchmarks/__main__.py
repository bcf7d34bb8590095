"""``python -m benchmarks``: measure, and print tables."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from benchmarks.report import Section, load_average
from benchmarks.workload import folio_sizes, pages_of
from sandbox.kernels import DEFAULT_KERNEL

__all__ = ["main"]

PARTS = ("commands", "app", "screen", "actions", "engine", "history", "sizes", "deep", "explore")


def main(argv: list[str] | None = None) -> int:
    """Measure the parts asked for and write a table each; 0, or 2 for a wrong command line."""
    parser = parser_of()
    args = parser.parse_args(argv)
    unknown = set(args.parts) - set(PARTS)
    if unknown:
        parser.error(f"no part {', '.join(sorted(unknown))}; expected some of {', '.join(PARTS)}")
    sys.stderr.write(f"{load_average()}, {args.runs} runs each\n")
    for part in args.parts or PARTS:
        section = measurements(args)[part]()
        sys.stdout.write(section.json() + "\n" if args.json else "\n".join(section.lines()) + "\n")
        sys.stdout.flush()
    sys.stderr.write(f"{load_average()}\n")
    return 0


def measurements(args: argparse.Namespace) -> dict[str, Callable[[], Section]]:
    """Return what measures each part; a part's module is imported when it is asked for."""
    # Imported here: the terminal's modules are not there on every system.
    from benchmarks import actions, deep, engine, explore, screen, sizes, startup

    return {
        "commands": lambda: startup.commands(args.preset, args.runs),
        "app": lambda: startup.first_paint(args.preset, args.runs),
        "screen": lambda: screen.step_latency(args.screen_size, args.presses),
        "actions": lambda: actions.cost_of_a_key(args.actions, max(args.presses // 5, 1)),
        "engine": lambda: engine.throughput(args.kernel, args.folios, args.runs),
        "history": lambda: engine.history(args.kernel, args.folios, args.runs),
        "sizes": lambda: sizes.by_folio_size(args.kernel, args.size, args.folio_sizes),
        "explore": lambda: explore.interleavings(args.blocks),
        "deep": lambda: deep.step_back(args.kernel, args.deep_size, args.presses // 5),
    }


def parser_of() -> argparse.ArgumentParser:
    """Make the parser of the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help="; ".join(PARTS))
    add = parser.add_argument
    add("--runs", type=int, default=7, help="runs of each measurement (%(default)s)")
    add("--kernel", default=DEFAULT_KERNEL, help="the engine's kernel (%(default)s)")
    add("--preset", default="3", help="what `run` and the application open (%(default)s)")
    add("--folios", type=int, default=64, help="64K folios for the engine (%(default)s)")
    add("--block", action="append", default=[], dest="blocks", help="of `explore`: only this one")
    add("--size", type=size, default="64M", help="memory for `sizes`, up to 4G (%(default)s)")
    add("--folio-sizes", type=folios, default="4K,64K,2M", help="for `sizes` (%(default)s)")
    add("--screen-size", type=size, default="64M", help="for `screen`, up to 1G (%(default)s)")
    add("--deep-size", type=size, default="64M", help="for `deep`, up to 1G (%(default)s)")
    add("--presses", type=int, default=100, help="of each key; of `actions` 1 in 5 (%(default)s)")
    add("--actions", type=int, default=10_000, help="actions done for `actions` (%(default)s)")
    add("--json", action="store_true", help="a JSON object for each table")
    return parser


def size(text: str) -> int:
    """Read a size as base pages, for the parser."""
    try:
        return pages_of(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def folios(text: str) -> tuple[str, ...]:
    """Read a list of folio sizes, for the parser."""
    try:
        return folio_sizes(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


if __name__ == "__main__":
    sys.exit(main())
