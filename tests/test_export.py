"""What can be taken away: each format from one exhibit, and the command."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from mmtui.exit_codes import ExitCode
from mmtui.export.formats import FORMATS

Mmtui = Callable[..., tuple[int, str, str]]
TEXT = "scenario one\nmmap A R 16K\nwrite A R 0 4\nend\nscenario two\nmmap B R 16K\nend\n"


def test_a_mail_is_ascii_of_72_columns_and_has_the_state_that_run_writes(mmtui: Mmtui) -> None:
    status, out, err = mmtui("export", "3", "--to", "mail", "-k", "7.2", "--step", "9")
    assert (status, err) == (ExitCode.OK, "")
    assert out.isascii()
    assert max(map(len, out.splitlines())) <= 72
    _, run, _ = mmtui("run", "3", "-k", "7.2")
    state = run[run.index("step 9: ") : run.index("rules: ")]
    assert state in out


def test_the_command_that_replays_it_is_one(mmtui: Mmtui, tmp_path: Path) -> None:
    file = tmp_path / "a file.scn"
    file.write_text(TEXT)
    _, out, _ = mmtui("export", str(file), "--to", "json", "--scenario", "two")
    replay = json.loads(out)["replay"]
    status, again, _ = mmtui(*shlex.split(replay)[1:], "--json")
    assert status == ExitCode.OK
    assert json.loads(again)["scenario"] == "two"
    assert json.loads(again)["steps"][-1] == json.loads(out)["state"]


def test_what_changed_since_an_earlier_step(mmtui: Mmtui) -> None:
    asked = ("export", "3", "-k", "7.2", "--step", "9", "--since", "8")
    _, out, _ = mmtui(*asked, "--to", "json")
    differs = {(c["object"], c["field"]): c["values"] for c in json.loads(out)["differs"]}
    assert differs["F1", "refcount"] == [17, 32]
    assert differs["B", "R[0]"] == [None, "present F1.0 od"]
    assert ("A", "R[0]") not in differs
    _, out, _ = mmtui(*asked, "--to", "mail")
    assert "  F1 mapcount[6-15]: 0 | 1\n" in out
    _, out, _ = mmtui("export", "3", "-k", "7.2", "--step", "1", "--since", "0", "--to", "mail")
    assert "nothing differs from the state at the start\n" in out


def test_the_way_to_what_broke_ends_with_the_event_that_did(mmtui: Mmtui) -> None:
    _, out, _ = mmtui("export", "3", "-k", "ryan-v2", "--to", "json", "--walk")
    told = json.loads(out)
    first = told["violations"][0]
    assert told["walk"][-1]["n"] == first["event"]
    assert first["rule"] in told["walk"][-1]["broken"]
    assert told["walk"][0]["text"].startswith("fork A")
    _, out, _ = mmtui("export", "3", "-k", "ryan-v2", "--to", "mail", "--walk")
    walk = out[out.index("on the way there") :].splitlines()[1:-1]
    assert walk[-1].split()[0] == str(first["event"])
    assert walk[-1].endswith(f"!{first['rule']}")
    _, out, _ = mmtui("export", "3", "-k", "7.2", "--to", "json", "--walk")
    assert json.loads(out)["walk"] == []


def test_markdown_holds_whatever_a_name_says(mmtui: Mmtui, tmp_path: Path) -> None:
    file = tmp_path / "s.scn"
    file.write_text("scenario a-b\nabout *not* [a](link) | <i>\nmmap A R 16K\nend\n")
    _, out, _ = mmtui("export", str(file), "--to", "md")
    lines = out.splitlines()
    assert lines[0].startswith("## a-b on ")
    assert r"\*not\* \[a\](link) \| \<i\>" in lines
    assert lines.count("```") == 4


@pytest.mark.parametrize("to", list(FORMATS))
def test_every_format_writes_every_scenario(mmtui: Mmtui, tmp_path: Path, to: str) -> None:
    file = tmp_path / "s.scn"
    file.write_text(TEXT)
    status, out, _ = mmtui("export", str(file), "--to", to)
    assert status == ExitCode.OK
    assert "one" in out
    assert "two" in out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [(["--to", "pdf"], "expected mail, md, json"), (["--to", "mail", "--step", "0"], "no step 0"),
     (["--to", "mail", "--step", "99"], "1 to"), ([], "--to"),
     (["--to", "mail", "--step", "3", "--since", "3"], "0 to 2")],
)  # fmt: skip
def test_what_cannot_be_exported_is_one_line(mmtui: Mmtui, arguments: list[str], says: str) -> None:
    status, out, err = mmtui("export", "3", *arguments)
    assert (status, out) == (ExitCode.USAGE, "")
    assert err.count("\n") == 1
    assert says in err
