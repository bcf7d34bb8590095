"""The command line of what asks real kernels: `rig`, `record`, `race`, `fuzz`."""

from __future__ import annotations

import argparse

from mmtui.exit_codes import ExitCode
from sandbox.printable import short

__all__ = [
    "KERNEL_HELP",
    "TARGET_HELP",
    "count_of",
    "fuzz_command",
    "fuzz_options",
    "kernel_option",
    "race_command",
    "race_options",
    "record_command",
    "record_options",
    "rig_command",
    "rig_options",
    "scenario_option",
]

KERNEL_HELP = "a kernel's id (see `mmtui kernels`) or FILE.py:CLASS"
TARGET_HELP = "a preset's name or number, a preset document (.md) or a scenario file"


def rig_options(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `mmtui rig`."""
    parser.add_argument(
        "what",
        metavar="setup|check",
        choices=("setup", "check"),
        help="fetch, build, install what is needed (root on Debian 12), or list what is there",
    )
    parser.add_argument(
        "kernels",
        metavar="KERNEL",
        nargs="*",
        help="a version of Debian's archive such as 7.2, or 7.2-nopm, built from source in an hour "
        "(default: 6.12 and 7.2)",
    )


def rig_command(args: argparse.Namespace) -> ExitCode:
    """Set up what records on real kernels, or say what is there."""
    from mmtui.headless.rig import rig

    return rig(args.what, args.kernels)


def scenario_option(parser: argparse.ArgumentParser) -> None:
    """Declare the option that takes one scenario of several."""
    parser.add_argument("--scenario", metavar="NAME", help="only the scenario of this name")


def kernel_option(parser: argparse.ArgumentParser, only: str = "") -> None:
    """Declare the option that takes a modelled kernel, or a person's own."""
    parser.add_argument("-k", "--kernel", metavar="KERNEL", help=only + KERNEL_HELP)


def _real_option(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument("-k", "--kernel", metavar="KERNEL", dest="real", required=True, help=text)


def _output_option(parser: argparse.ArgumentParser, default: str, text: str) -> None:
    text = f"{text} (default: {default})"
    parser.add_argument("-o", "--output", metavar="DIR", default=default, help=text)


def _own_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--image", metavar="IMAGE", help="a kernel of your own: its arm64 image")
    parser.add_argument(
        "--build", metavar="DIR", help="the tree, or the headers, that the image was built from"
    )


def _hwaf_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--hwaf", action="store_true", help="on a CPU that sets access and dirty bits itself"
    )


def _real_options(parser: argparse.ArgumentParser, folder: str) -> None:
    """Declare what the commands that ask a real kernel have in common."""
    parser.add_argument("targets", metavar="FILE|PRESET", nargs="+", help=TARGET_HELP)
    _real_option(
        parser, "a real kernel that is set up (see `mmtui rig check`), or a name for your own"
    )
    _own_options(parser)
    scenario_option(parser)
    _output_option(parser, "recordings", f"write DIR/{folder}")
    parser.add_argument("--json", action="store_true", help="to stdout instead, an object a line")


def record_options(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `mmtui record`."""
    _real_options(parser, "KERNEL/NAME.json")
    parser.add_argument(
        "--stores",
        action="store_true",
        help="every store, in order, of the actions marked `traced`, or of all if none is",
    )
    _hwaf_option(parser)


def record_command(args: argparse.Namespace) -> ExitCode:
    """Record scenarios on a real kernel."""
    from mmtui.headless.record import record

    return record(
        args.targets,
        args.real,
        scenario=args.scenario,
        stores=args.stores,
        hwaf=args.hwaf,
        directory=args.output,
        own=(args.image, args.build),
        as_json=args.json,
    )


def race_options(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `mmtui race`."""
    _real_options(parser, "KERNEL-race/NAME.json")
    parser.add_argument(
        "--sweep", action="store_true", help="every schedule with one switch, instead of the file's"
    )
    parser.add_argument(
        "--random",
        metavar="N",
        type=count_of,
        default=0,
        help="N random schedules with two to five switches",
    )
    parser.add_argument("--seed", metavar="S", type=count_of, default=1, help="of the random ones")


def race_command(args: argparse.Namespace) -> ExitCode:
    """Race two CPUs of a real kernel."""
    from mmtui.headless.race import Schedules, race

    return race(
        args.targets,
        args.real,
        scenario=args.scenario,
        schedules=Schedules(args.sweep, args.random, args.seed),
        directory=args.output,
        own=(args.image, args.build),
        as_json=args.json,
    )


def fuzz_options(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `mmtui fuzz`."""
    _real_option(
        parser, "a modelled kernel, held against the real one of that name (see `mmtui rig check`)"
    )
    other = parser.add_mutually_exclusive_group()
    other.add_argument(
        "--against", metavar="KERNEL", help="against this modelled kernel, without a real one"
    )
    other.add_argument(
        "--reorder",
        action="store_true",
        help="against the model itself, with independent actions in another order",
    )
    _drawing_options(parser)
    _shrinking_options(parser)
    _own_options(parser)
    _hwaf_option(parser)
    _output_option(parser, "fuzz", "write reports and what was found there, or go on there")
    parser.add_argument("--json", action="store_true", help="the report as JSON")


def _drawing_options(parser: argparse.ArgumentParser) -> None:
    """Declare what is drawn, and what is compared."""
    parser.add_argument("--seed", metavar="N", type=count_of, default=1, help="of the scenarios")
    parser.add_argument(
        "--count", metavar="M", type=count_of, default=100, help="how many (default: 100)"
    )
    parser.add_argument(
        "--family",
        metavar="FAMILY",
        help="core, wide, deep, kill, VERB=WEIGHT,... or FILE.toml (default: all four in turn)",
    )
    parser.add_argument(
        "--stores", action="store_true", help="compare the order of every store as well"
    )
    parser.add_argument(
        "--races", action="store_true", help="pairs of actions on two CPUs, by their outcomes"
    )
    parser.add_argument(
        "--schedules",
        metavar="N",
        type=count_of,
        default=14,
        help="of each pair, both orders included (default: 14)",
    )


def _shrinking_options(parser: argparse.ArgumentParser) -> None:
    """Declare what may take long."""
    parser.add_argument(
        "--shrink",
        metavar="N",
        type=count_of,
        help="make so many of each group small (default: all of them; 0: none)",
    )
    parser.add_argument(
        "--jobs", metavar="J", type=count_of, default=1, help="so many at a time (default: 1)"
    )
    parser.add_argument(
        "--limit",
        metavar="SECONDS",
        type=count_of,
        default=90,
        help="of a real kernel's silence after which a scenario is left out (default: 90)",
    )


def fuzz_command(args: argparse.Namespace) -> ExitCode:
    """Play random scenarios, and make small what differs."""
    from mmtui.headless.fuzz import Fuzz, fuzz

    asked = Fuzz(
        kernel=args.real,
        against=args.against,
        reorder=args.reorder,
        seed=args.seed,
        total=args.count,
        family=args.family,
        shrink=args.shrink,
        jobs=args.jobs,
        limit=args.limit,
        hwaf=args.hwaf,
        stores=args.stores,
        races=args.races,
        schedules=args.schedules,
        directory=args.output,
        own=(args.image, args.build),
    )
    return fuzz(asked, as_json=args.json)


def count_of(text: str) -> int:
    """Read a number as people write it; int() would also take `1_0` and digits of any script."""
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise argparse.ArgumentTypeError(f"{short(text, 40)!r} is no number from 0")
    return int(text)
