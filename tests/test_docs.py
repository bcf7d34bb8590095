"""What README.md and CONTRIBUTING.md say is so: transcripts, tables, links and paths."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from mmtui.__main__ import main
from mmtui.commands.registry import COMMANDS
from mmtui.exit_codes import ExitCode
from sandbox.kernels import REGISTRY, kernel_by_name
from sandbox.rules import RULES
from sandbox.rules.own import forget_rules
from sandbox.run.plan import HANDLERS
from sandbox.scenario.language import parse_scenarios
from sandbox.scenario.verbs import VERBS

ROOT = Path(__file__).parent.parent
TEXTS = {
    name: (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "CONTRIBUTING.md")
}
README = TEXTS["README.md"]


class Transcript(NamedTuple):
    document: str
    command: str
    output: str


def transcripts() -> Iterator[Transcript]:
    for name, text in TEXTS.items():
        for command, output in re.findall(
            r"^```console\n\$ ([^\n]*)\n(.*?)^```$", text, re.M | re.S
        ):
            yield Transcript(name, command, output)


def pattern_of(output: str) -> str:
    """`...` on a line of its own stands for lines, at the end of a line for the rest of it."""
    lines = []
    for line in output.splitlines(keepends=True):
        if line == "...\n":
            lines.append(r"(?:.*\n)*?")
        elif line.endswith("...\n"):
            lines.append(re.escape(line[:-4]) + r".*\n")
        else:
            lines.append(re.escape(line))
    return "".join(lines) + r"\s*"


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in a folder with what a clone has, and the examples of CONTRIBUTING.md."""
    for name in ("tests", "presets"):
        (tmp_path / name).symlink_to(ROOT / name)
    examples = re.findall(r"^```python\n(.*?)^```$", TEXTS["CONTRIBUTING.md"], re.M | re.S)
    for name, example in zip(("blind.py", "few.py"), examples, strict=True):
        (tmp_path / name).write_text(example, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("clone")
@pytest.mark.parametrize("shown", list(transcripts()), ids=lambda shown: shown.command)
def test_a_transcript_is_what_the_command_writes(
    shown: Transcript, capsys: pytest.CaptureFixture[str]
) -> None:
    program, *arguments = shlex.split(shown.command)
    assert program == "mmtui"
    assert main(arguments) == ExitCode.OK
    out = capsys.readouterr().out
    assert re.fullmatch(pattern_of(shown.output), out), out


def test_there_are_transcripts() -> None:
    assert {shown.document for shown in transcripts()} == set(TEXTS)


@pytest.mark.usefixtures("clone")
def test_other_commands_of_the_readme_run(capsys: pytest.CaptureFixture[str]) -> None:
    lines = re.findall(r"^    mmtui (run .*)$", README, re.M)
    assert lines
    for line in lines:
        assert main(shlex.split(line)) == ExitCode.OK, line
    assert capsys.readouterr().out


def test_the_scenario_of_the_readme_parses() -> None:
    (text,) = re.findall(r"^    (scenario .*?^    end)$", README, re.M | re.S)
    (scenario,) = parse_scenarios(re.sub(r"^    ", "", text, flags=re.M), "README.md")
    assert len(scenario.steps) == 5


def test_the_table_of_kernels_is_the_registry() -> None:
    rows = re.findall(r"^\| `([^` ]+)` \| (.*) \|$", section("Kernels"), re.M)
    assert rows == [(entry.id, kernel_by_name(entry.id).summary) for entry in REGISTRY]


def test_the_number_of_rules_is_right() -> None:
    assert section("Rules").strip().startswith(f"{len(RULES)} rules are watched.")


def test_the_verbs_that_are_missing_are_named() -> None:
    named = re.findall(r"`(\w+)`", section("What is not modelled").partition(".\n")[0])
    assert named == [verb for verb in VERBS if verb not in HANDLERS], "as `mmtui` refuses them"


def test_the_keys_of_the_walk_are_keys_of_the_application() -> None:
    keys = {key for command in COMMANDS.values() for key in command.keys}
    named = set(re.findall(r"`([^`\s])`", section("Five minutes")))
    assert named - {"*"} <= keys  # the asterisk marks what changed


@pytest.mark.parametrize("name", TEXTS)
def test_links_and_paths_lead_somewhere(name: str) -> None:
    text = TEXTS[name]
    for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
        assert (ROOT / link).exists(), link
    for path in re.findall(r"`((?:sandbox|mmtui|presets|tests|benchmarks)/[\w./]*)`", text):
        assert (ROOT / path.replace("KERNEL/", "")).exists(), path


def section(title: str) -> str:
    """Return the text of a section of the README."""
    return README.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


@pytest.mark.usefixtures("clone")
def test_the_rule_of_the_example_is_watched(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        assert main(["run", "1", "--kernel", "7.2", "--rule", "few.py:FewReferences"]) == 0
    finally:
        forget_rules()
    assert "rule MINE-1 broken in" in capsys.readouterr().out
