"""The longer attacks: `python -m tests.attack NAME`; each ends with one line of JSON and 0 or 1."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from tests.attack.report import Report, scratch

Attack = Callable[[Report, argparse.Namespace, Path], object]


def _back(report: Report, args: argparse.Namespace, folder: Path) -> None:
    from tests.attack import back

    (back.quickly if args.quick else back.thoroughly)(report)


def _ends(report: Report, args: argparse.Namespace, folder: Path) -> None:
    from tests.attack import ends

    ends.try_ends(report, folder, () if args.quick else [way.name for way in ends.ENDS])


def _leavings(report: Report, args: argparse.Namespace, folder: Path) -> None:
    from tests.attack import ends

    ends.try_leavings(report, folder)


def _together(report: Report, args: argparse.Namespace, folder: Path) -> None:
    from tests.attack import ends

    ends.try_together(report, folder, 2 if args.quick else 5)


def _saves(report: Report, args: argparse.Namespace, folder: Path) -> None:
    from tests.attack import saves

    saves.try_saves(report, folder)


def _fuzz(report: Report, args: argparse.Namespace, folder: Path) -> None:
    from tests.attack import fuzz

    fuzz.fuzz_side_by_side(report, folder, args.seed, _seconds(args, 3600, 60))


def _kill9(report: Report, args: argparse.Namespace, folder: Path) -> None:
    from tests.attack import kill9

    kill9.kill9(report, folder, args.seed, args.count or (10 if args.quick else 100))


def _exact(report: Report, args: argparse.Namespace, folder: Path) -> None:
    from tests.attack import exact

    exact.exact_under_hash_seeds(report, folder, args.seed, _seconds(args, 360, 50))


def _exact_once(report: Report, args: argparse.Namespace, folder: Path) -> dict[str, object]:
    from tests.attack import exact

    return {"digests": exact.exact(report, folder, args.seed, _seconds(args, 60, 10))}


def _pilot(report: Report, args: argparse.Namespace, folder: Path) -> None:
    from tests.attack import pilot

    pilot.pilot(report, folder, args.seed, _seconds(args, 300, 30))


def _scale(report: Report, args: argparse.Namespace, folder: Path) -> None:
    from tests.attack import scale

    scale.scale(report, folder, args.names)


def _files(report: Report, args: argparse.Namespace, folder: Path) -> None:
    from tests.attack import inputs

    inputs.try_inputs(report, folder, inputs.files())


def _special(report: Report, args: argparse.Namespace, folder: Path) -> None:
    from tests.attack import inputs

    inputs.try_inputs(report, folder, inputs.special())


def _presets(report: Report, args: argparse.Namespace, folder: Path) -> None:
    from tests.attack import documents, inputs

    inputs.try_inputs(report, folder, documents.presets())


def _recordings(report: Report, args: argparse.Namespace, folder: Path) -> None:
    from tests.attack import documents, inputs

    inputs.try_inputs(report, folder, documents.recordings(args.quick))


def _modules(report: Report, args: argparse.Namespace, folder: Path) -> None:
    from tests.attack import modules

    modules.try_modules(report, folder, args.names)


def _code(report: Report, args: argparse.Namespace, folder: Path) -> None:
    from tests.attack import documents

    documents.try_code(report, folder)


def _streams(report: Report, args: argparse.Namespace, folder: Path) -> None:
    from tests.attack import streams

    streams.try_streams(report, folder)


def _interrupts(report: Report, args: argparse.Namespace, folder: Path) -> None:
    from tests.attack import streams

    streams.try_interrupts(report, folder, args.seed, args.count or (5 if args.quick else 25))


def _homes(report: Report, args: argparse.Namespace, folder: Path) -> None:
    from tests.attack import surroundings

    surroundings.try_homes(report, folder)


def _sessions(report: Report, args: argparse.Namespace, folder: Path) -> None:
    from tests.attack import surroundings

    surroundings.try_broken_sessions(report, folder)


def _escapes(report: Report, args: argparse.Namespace, folder: Path) -> None:
    from tests.attack import surroundings

    surroundings.try_escapes(report, folder)


def _modules_on_screen(report: Report, args: argparse.Namespace, folder: Path) -> None:
    from tests.attack import surroundings

    surroundings.try_modules_on_screen(report, folder)


def _stops(report: Report, args: argparse.Namespace, folder: Path) -> None:
    from tests.attack import signals

    signals.try_stops(report, folder, args.seed, args.count or (12 if args.quick else 54))


def _sigint(report: Report, args: argparse.Namespace, folder: Path) -> None:
    from tests.attack import signals

    count = args.count or (6 if args.quick else 25)
    signals.try_interrupts_on_screen(report, folder, args.seed, count)


def _json(report: Report, args: argparse.Namespace, folder: Path) -> None:
    from tests.attack import streams

    streams.try_json(report, folder)


def _endless(report: Report, args: argparse.Namespace, folder: Path) -> None:
    from tests.attack import inputs

    inputs.try_inputs(report, folder, inputs.endless())


ATTACKS: dict[str, tuple[Attack, str]] = {
    "back": (_back, "going back over every preset and scenario, everything drawn at five sizes"),
    "ends": (_ends, "nine ways to end with four actions done"),
    "leavings": (_leavings, "going back, branches, kernels and other documents, then leaving"),
    "together": (_together, "three applications that end in one second"),
    "saves": (_saves, ":save to odd places"),
    "homes": (_homes, "homes, disks, locales, terminals that are odd"),
    "fuzz": (_fuzz, "keys, lines, pastes, mouse, sizes and signals at three sizes"),
    "kill9": (_kill9, "SIGKILL at random moments, opened again and compared"),
    "exact": (_exact, "random benches against fresh replays under five hash seeds"),
    "exact-once": (_exact_once, "the same under this interpreter's hash seed"),
    "stops": (_stops, "SIGTSTP and SIGCONT while it works"),
    "sigint": (_sigint, "SIGINT while it works"),
    "pilot": (_pilot, "random keys and lines in process"),
    "scale": (_scale, "many actions, processes, pages: acts procs gib mem"),
    "sessions": (_sessions, "broken sessions: named, by --continue, by :open"),
    "files": (_files, "hostile scenario files"),
    "special": (_special, "devices, FIFOs, names and options"),
    "presets": (_presets, "hostile preset documents"),
    "recordings": (_recordings, "malformed recordings for conform"),
    "code": (_code, "documents that name Python code"),
    "modules": (_modules, "faulty kernel modules"),
    "screen-modules": (_modules_on_screen, "faulty kernel modules in the application"),
    "escapes": (_escapes, "escape sequences in every text, in the application"),
    "streams": (_streams, "commands with closed, full and missing streams"),
    "json": (_json, "JSON of every preset and list"),
    "endless": (_endless, "actions that make no progress"),
    "interrupts": (_interrupts, "SIGINT to commands at a random moment"),
}
"""What there is, in the order of the summary table."""


def _seconds(args: argparse.Namespace, usual: float, quick: float) -> float:
    """How long, as asked for or as usual."""
    if args.minutes is not None:
        return float(args.minutes) * 60
    return float(args.seconds) if args.seconds is not None else (quick if args.quick else usual)


def _parser() -> argparse.ArgumentParser:
    lines = [f"  {name:14} {what}" for name, (_, what) in ATTACKS.items()]
    parser = argparse.ArgumentParser(
        prog="python -m tests.attack",
        description="Attack mmtui; the last line of stdout is JSON, the status 0 or 1.",
        epilog="\n".join(["attacks:", *lines, "  table        all of them, as a table"]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("attack", choices=[*ATTACKS, "table"], metavar="NAME")
    parser.add_argument("names", nargs="*", help="only these cases (scale, modules)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--count", type=int, help="how often (kill9, interrupts)")
    parser.add_argument("--quick", action="store_true", help="a shorter one")
    parser.add_argument("--into", type=Path, help="folder for homes and reproductions")
    return parser


def attack(name: str, args: argparse.Namespace, folder: Path) -> tuple[Report, dict[str, object]]:
    """Run one attack; its report, and what else its line says."""
    report = Report(name, args.seed, folder / "faults")
    more = ATTACKS[name][0](report, args, folder / name)
    return report, more if isinstance(more, dict) else {}


def _table(args: argparse.Namespace, folder: Path) -> bool:
    """The summary table, a row as soon as it is known; whether nothing failed."""
    out = sys.stdout
    out.write("| what was tried | tried | failed | kinds |\n|---|---:|---:|---|\n")
    right = True
    for name, (_, what) in ATTACKS.items():
        if name == "exact-once":
            continue
        report, _ = attack(name, args, folder)
        kinds = ", ".join(f"{kind} {count}" for kind, count in report.kinds().items())
        out.write(f"| {what} (`{name}`) | {report.tried} | {report.failed} | {kinds} |\n")
        out.flush()
        with (folder / "table.jsonl").open("a") as file:
            file.write(report.line() + "\n")
        right = right and report.ok
    return right


def main() -> int:
    """Do what the command line asks for."""
    args = _parser().parse_args()
    folder = args.into or scratch(args.attack)
    folder.mkdir(parents=True, exist_ok=True)
    if args.attack == "table":
        return 0 if _table(args, folder) else 1
    report, more = attack(args.attack, args, folder)
    sys.stdout.write(report.line(**more) + "\n")
    return 0 if report.ok else 1


if __name__ == "__main__":
    sys.exit(main())
