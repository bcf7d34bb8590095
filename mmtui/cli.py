"""The command line: which command a line asks for, and what its end tells the shell.

stdout carries data, stderr narration.  Each command's module is imported only
when it is asked for, so that none pays for another, nor for the application.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import NamedTuple, NoReturn

from mmtui import __version__, collector
from mmtui import cli_real as real
from mmtui.cli_explore import explore_command, explore_options
from mmtui.cli_real import KERNEL_HELP, TARGET_HELP, count_of, kernel_option, scenario_option
from mmtui.crash import CrashNet
from mmtui.exit_codes import ExitCode
from mmtui.streams import unwrapped, wrapped
from sandbox.errors import Cancelled, CannotError, SandboxError, UsageError
from sandbox.printable import one_line, short

__all__ = ["COMMANDS", "Command", "dispatch", "parser_of"]

_TOP_USAGE = """mmtui [--kernel KERNEL] [--rule RULE] [--scenario NAME] [PRESET | FILE]
       mmtui [--kernel KERNEL] [--rule RULE] --continue
       mmtui --plain [...] [PRESET | FILE]
       mmtui COMMAND [ARGUMENT ...]"""


class Command(NamedTuple):
    """A headless command, declared once: help, parser and documentation follow from it."""

    name: str
    summary: str
    """What it does, for `mmtui --help`."""
    options: Callable[[argparse.ArgumentParser], None]
    """Declare its arguments."""
    run: Callable[[argparse.Namespace], ExitCode]
    """Do it."""


def _rule_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--rule", metavar="RULE", action="append", default=[], dest="own_rules",
        help="watch a rule of your own too: FILE.py:CLASS, or one that `mmtui rules` lists as"
        " installed; may be given several times",
    )  # fmt: skip


def _document_options(parser: argparse.ArgumentParser) -> None:
    """What is run, on which kernel, watched by which rules."""
    parser.add_argument("target", metavar="FILE|PRESET", help=TARGET_HELP)
    kernel_option(parser)
    _rule_option(parser)
    scenario_option(parser)


def _run_options(parser: argparse.ArgumentParser) -> None:
    _document_options(parser)
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON object per scenario and line")
    form.add_argument("--text", action="store_true", help="plain text, 72 columns (the default)")
    parser.add_argument("--events", action="store_true", help="every memory event as well")


def _run(args: argparse.Namespace) -> ExitCode:
    from mmtui.headless.run import run

    return run(args.target, args.kernel, args.scenario, as_json=args.json, events=args.events)


def _check_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "files", metavar="FILE|PRESET", nargs="*", help="presets to check (default: the library)"
    )
    kernel_option(parser, "only on this kernel; ")
    _rule_option(parser)
    scenario_option(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object per preset and kernel")


def _check(args: argparse.Namespace) -> ExitCode:
    from mmtui.headless.check import check

    return check(args.files, args.kernel, args.scenario, as_json=args.json)


def _conform_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "paths",
        metavar="PATH",
        nargs="+",
        help="a recording, a folder KERNEL of recordings, or a folder of such folders",
    )
    parser.add_argument("--markdown", action="store_true", help="tables in Markdown")


def _conform(args: argparse.Namespace) -> ExitCode:
    from mmtui.headless.conform import conform

    return conform(args.paths, markdown=args.markdown)


def _proc_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("target", metavar="FILE|PRESET", help=TARGET_HELP)
    parser.add_argument(
        "what", metavar="WHAT", help="pagemap, kpagecount, kpageflags, smaps or status"
    )
    kernel_option(parser)
    scenario_option(parser)
    parser.add_argument("--process", metavar="PROCESS", help="of this process alone")
    parser.add_argument(
        "--step", metavar="N", type=count_of, help="after action N (default: after the last)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object per scenario and line")


def _proc(args: argparse.Namespace) -> ExitCode:
    from mmtui.headless.proc import proc

    return proc(
        args.target,
        args.what,
        args.kernel,
        scenario=args.scenario,
        process=args.process,
        step=args.step,
        as_json=args.json,
    )


def _compare_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("target", metavar="FILE|PRESET", help=TARGET_HELP)
    parser.add_argument(
        "-k", "--kernel", metavar="KERNEL", action="append", default=[], dest="kernels",
        help=f"twice: {KERNEL_HELP} (default: the first two of the preset)",
    )  # fmt: skip
    scenario_option(parser)
    parser.add_argument("--step", metavar="N", type=count_of, help="only action N")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON object per scenario and line")
    form.add_argument("--events", action="store_true", help="every event of both, aligned")


def _compare(args: argparse.Namespace) -> ExitCode:
    from mmtui.headless.compare import compare

    return compare(
        args.target,
        args.kernels,
        args.scenario,
        step=args.step,
        events=args.events,
        as_json=args.json,
    )


def _export_options(parser: argparse.ArgumentParser) -> None:
    from mmtui.export.formats import FORMATS

    told = "; ".join(f"{each.name}: {each.summary}" for each in FORMATS.values())
    parser.add_argument("--to", metavar="FORMAT", required=True, help=told)
    _document_options(parser)
    parser.add_argument(
        "--step", metavar="N", type=count_of, help="after action N (default: after the last)"
    )
    parser.add_argument(
        "--since", metavar="M", type=count_of, help="only what differs from the state after M"
    )
    parser.add_argument(
        "--walk", action="store_true", help="with the events that led to the first broken rule"
    )


def _export(args: argparse.Namespace) -> ExitCode:
    from mmtui.headless.export import export

    return export(
        args.target,
        args.to,
        args.kernel,
        args.scenario,
        step=args.step,
        since=args.since,
        walk=args.walk,
    )


def _list_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="one JSON object per line")


def _rules_options(parser: argparse.ArgumentParser) -> None:
    _rule_option(parser)
    parser.add_argument("ids", metavar="RULE", nargs="*", help="explain these rules in full")
    _list_options(parser)


def _kernels_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kernel", metavar="KERNEL", nargs="?", help=KERNEL_HELP)
    parser.add_argument(
        "function", metavar="FUNCTION", nargs="?",
        help="its definition in effect, the others, who calls it, which presets reach it",
    )  # fmt: skip
    _list_options(parser)


def _kernels(args: argparse.Namespace) -> ExitCode:
    if args.kernel is None:
        from mmtui.headless.catalogue import list_kernels

        return list_kernels(as_json=args.json)
    if args.function is None:
        raise UsageError("no function of the kernel is named", expected="KERNEL FUNCTION")
    from mmtui.headless.own_kernel import show_function

    return show_function(args.kernel, args.function, as_json=args.json)


def _newkernel_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("functions", metavar="FUNCTION", nargs="*", help="what is to be changed")
    parser.add_argument(
        "--base", metavar="KERNEL", default="7.2", dest="kernel",
        help="what it is a change of (7.2); " + KERNEL_HELP,
    )  # fmt: skip
    parser.add_argument("-o", metavar="FILE.py", required=True, dest="file", help="the new file")


def _new_kernel(args: argparse.Namespace) -> ExitCode:
    from mmtui.headless.own_kernel import new_kernel

    return new_kernel(args.kernel, args.functions, args.file)


def _rules(args: argparse.Namespace) -> ExitCode:
    from mmtui.headless.catalogue import list_rules

    return list_rules(args.ids, as_json=args.json)


def _presets(args: argparse.Namespace) -> ExitCode:
    from mmtui.headless.catalogue import list_presets

    return list_presets(as_json=args.json)


COMMANDS: dict[str, Command] = {
    command.name: command
    for command in (
        Command("run", "run a scenario file or a preset", _run_options, _run),
        Command("check", "hold presets against their expectations", _check_options, _check),
        Command("conform", "hold the engine against recordings", _conform_options, _conform),
        Command("compare", "play a scenario on two kernels", _compare_options, _compare),
        Command(
            "explore",
            "walk every interleaving of a block of CPUs",
            explore_options,
            explore_command,
        ),
        Command("export", "write a state to be sent to somebody", _export_options, _export),
        Command("proc", "show what /proc would show of a state", _proc_options, _proc),
        Command(
            "record",
            "record scenarios on a real kernel",
            real.record_options,
            real.record_command,
        ),
        Command("race", "race two CPUs of a real kernel", real.race_options, real.race_command),
        Command(
            "fuzz",
            "play random scenarios, and make small what differs",
            real.fuzz_options,
            real.fuzz_command,
        ),
        Command("rig", "set up what records on real kernels", real.rig_options, real.rig_command),
        Command(
            "kernels", "list the modelled kernels, or show a function", _kernels_options, _kernels
        ),
        Command("new-kernel", "begin a kernel of your own", _newkernel_options, _new_kernel),
        Command("rules", "list the rules, or explain some", _rules_options, _rules),
        Command("presets", "list the library of presets", _list_options, _presets),
    )
}
"""The headless commands by name, in the order of the help."""


def dispatch(argv: list[str]) -> int:
    """Run one command line, `argv` without the program's name, and returns its exit status.

    Errors that a person can mend are one line on stderr; there is never a traceback.
    """
    collector.relax()
    with wrapped(), CrashNet():
        try:
            status = _command(argv)
            sys.stdout.flush()
        except Cancelled as stopped:
            return _complain(stopped, ExitCode.INTERRUPTED)
        except CannotError as error:
            return _complain(error, ExitCode.CANNOT)
        except SandboxError as error:
            return _complain(error, ExitCode.USAGE)
        except BrokenPipeError:
            return int(ExitCode.BROKEN_PIPE)
        except KeyboardInterrupt:
            return int(ExitCode.INTERRUPTED)
        return int(status)


def _complain(error: SandboxError, status: ExitCode) -> int:
    sys.stderr.write(f"mmtui: {one_line(str(error))}\n")
    return int(status)


class _Parser(argparse.ArgumentParser):
    """A parser that refuses a line like everything else is refused: with one line."""

    def error(self, message: str) -> NoReturn:
        """Raise a `UsageError` in place of writing and ending the process."""
        raise UsageError(f"{short(message, 200)} ({' '.join(self.format_usage().split())})")


def parser_of(command: Command) -> argparse.ArgumentParser:
    """Make the argument parser of a headless command."""
    parser = _Parser(
        prog=f"mmtui {command.name}", description=_sentence(command.summary), allow_abbrev=False
    )
    command.options(parser)
    return parser


def _command(argv: list[str]) -> int:
    command = COMMANDS.get(argv[0]) if argv else None
    try:
        if command is None:
            args = _top_parser().parse_args(argv)
        else:
            args = parser_of(command).parse_args(argv[1:])
    except SystemExit as end:  # --help or --version, which is written
        return end.code if isinstance(end.code, int) else ExitCode.USAGE
    _name_own(args)
    if command is not None:
        return command.run(args)
    names = tuple(COMMANDS)
    if args.plain:
        from mmtui.headless.open_plain import open_plain

        return open_plain(args.target, args.kernel, names, args.scenario, resume=args.resume)
    from mmtui.headless.open_app import open_app

    with unwrapped():  # it draws on them
        return open_app(args.target, args.kernel, names, args.scenario, resume=args.resume)


def _name_own(args: argparse.Namespace) -> None:
    """Load a kernel that is no model, and rules: here the person at the command line names them."""
    for rule in getattr(args, "own_rules", ()):
        from sandbox.rules.own import name_rule

        name_rule(rule)
    named = getattr(args, "kernel", None)
    for kernel in [*getattr(args, "kernels", ()), *([] if named is None else [named])]:
        from sandbox.kernels import must_be_named, name_kernel

        if must_be_named(kernel):
            name_kernel(kernel)


def _top_parser() -> argparse.ArgumentParser:
    """Make the parser of a line without a command, whose help lists the commands."""
    width = max(len(name) for name in COMMANDS)
    listing = "\n".join(f"  {name:<{width}}  {c.summary}" for name, c in COMMANDS.items())
    parser = _Parser(
        prog="mmtui",
        usage=_TOP_USAGE,
        description="A terminal sandbox for the accounting rules of Linux memory management.\n"
        "Without a command it opens the application: the library, or what is named.",
        epilog=f"commands (`mmtui COMMAND --help` says more):\n{listing}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("target", metavar="PRESET|FILE", nargs="?", help=TARGET_HELP)
    kernel_option(parser)
    _rule_option(parser)
    scenario_option(parser)
    parser.add_argument(
        "-c", "--continue", action="store_true", dest="resume",
        help="go on with the latest session; the library lists the others",
    )  # fmt: skip
    parser.add_argument(
        "--plain", action="store_true",
        help="tell it in sentences, for a screen reader or a pipe: a line of stdin is a command,"
        " an empty one the story's next step",
    )  # fmt: skip
    parser.add_argument("-V", "--version", action="version", version=f"mmtui {__version__}")
    return parser


def _sentence(summary: str) -> str:
    return summary[0].upper() + summary[1:] + "."
