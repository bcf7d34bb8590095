"""The command line of `mmtui explore`."""

from __future__ import annotations

import argparse
import re

from mmtui.cli_real import TARGET_HELP, count_of, kernel_option, scenario_option
from mmtui.exit_codes import ExitCode
from sandbox.printable import short

__all__ = ["explore_command", "explore_options"]

_UNITS = {"": 1 << 20, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def _size(text: str) -> int:
    """Read a size such as 512M or 4G; a number alone is in MiB."""
    match = re.fullmatch(r"([0-9]{1,9})([KMG]?)", text)
    if match is None or not int(match[1]):
        raise argparse.ArgumentTypeError(f"{short(text, 40)!r} is no size such as 512M or 4G")
    return int(match[1]) * _UNITS[match[2]]


def explore_options(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `mmtui explore`."""
    parser.add_argument("target", metavar="FILE|PRESET", help=TARGET_HELP)
    kernel_option(parser)
    scenario_option(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object per finding and line")
    parser.add_argument(
        "--step", metavar="N", type=count_of,
        help="the block that is action N (default: the last block of several CPUs)",
    )  # fmt: skip
    parser.add_argument(
        "--always", metavar="EXPECTATION", action="append", default=[],
        help="what is to hold however the block ends; may be given several times",
    )  # fmt: skip
    parser.add_argument(
        "--sometimes", metavar="EXPECTATION", action="append", default=[],
        help="what is to hold in one of its ends at least",
    )  # fmt: skip
    parser.add_argument(
        "--first", action="store_true", help="stop at the first break, by the shortest schedule"
    )
    parser.add_argument("--bound", metavar="N", type=count_of, help="stop at so many states")
    parser.add_argument(
        "--preemptions", metavar="N", type=count_of,
        help="only schedules with so many switches from a CPU that could go on",
    )  # fmt: skip
    parser.add_argument(
        "--reduce", action="store_true",
        help="one order only of events that touch nothing of what the others may still do: "
        "the same breaks and ends, by schedules that may be longer",
    )  # fmt: skip
    parser.add_argument("--seconds", metavar="N", type=count_of, help="stop after so many seconds")
    parser.add_argument(
        "--memory", metavar="SIZE", type=_size, default=4 << 30,
        help="stop when states take more than that (4G)",
    )  # fmt: skip


def explore_command(args: argparse.Namespace) -> ExitCode:
    """Explore a block."""
    from mmtui.headless.explore import Asked, explore
    from sandbox.explore.search import Bounds

    states = Bounds().states if args.bound is None else args.bound
    seconds = float("inf") if args.seconds is None else float(args.seconds)
    bounds = Bounds(states, seconds, args.memory, args.preemptions, args.reduce, args.first)
    always, sometimes = tuple(args.always), tuple(args.sometimes)
    asked = Asked(args.target, args.kernel, args.scenario, args.step, bounds, always, sometimes)
    return explore(asked, as_json=args.json)
