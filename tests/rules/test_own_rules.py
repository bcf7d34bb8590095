"""Rules of a person's own: named, looked at, taken back, and what is wrong with them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mmtui.__main__ import main
from mmtui.commands.registry import execute
from mmtui.exit_codes import ExitCode
from sandbox.errors import UnknownRuleError
from sandbox.rules import RULES, Violation
from sandbox.rules.own import forget_rules, name_rule, named_rules
from sandbox.run.model import Model
from sandbox.run.session import Session
from sandbox.scenario.language import parse_action
from tests.test_installed_kernels import distribution

TEXT = """\
import os
from sandbox.rules.own import OwnRule

with open(os.path.join(os.path.dirname(__file__), "RAN"), "a") as file:
    file.write("x")


class Few(OwnRule):
    id = "MINE-1"
    statement = "No folio has more than ten references."
    words = ("page._refcount",)

    def changed(self, event, cpu, addr, old, new):
        most = max(self.see.remembered("most"), new)
        self.see.remember("most", most)
        folio = self.see.folio_of(addr)
        self.report(new <= 10, folio, self.see.name_of(folio), f"{new}, most {most}", addr)


class Mapped(OwnRule):
    id = "MINE-2"
    statement = "At rest the first folio is mapped."

    def quiet(self):
        for head in (0x1000,):
            self.report(self.see.entries(head) > 0, head, "first", "not mapped")


class Raises(Few):
    id = "MINE-3"

    def changed(self, event, cpu, addr, old, new):
        raise SystemExit(3)


class NoWord(Few):
    id = "MINE-4"
    words = ("page.refcount",)


class OneText(Few):
    id = "MINE-5"
    words = "page._refcount"


class Taken(Few):
    id = "I-05"
"""
SIXTEEN = ("mthp 64K madvise", "mmap A R 64K", "touch A R 0 16 w")


@pytest.fixture
def file(tmp_path: Path) -> Iterator[str]:
    path = tmp_path / "mine.py"
    path.write_text(TEXT)
    yield str(path)
    forget_rules()


def after(*lines: str) -> Session:
    session = Session("7.2")
    for line in lines:
        session.do(parse_action(line))
    return session


def broken(session: Session, rule: str) -> Violation:
    (found,) = [v for v in session.rules.broken.values() if v.rule == rule]
    return found


def test_a_rule_is_looked_at_from_its_naming_on_and_taken_back(file: str) -> None:
    assert not after(*SIXTEEN).rules.broken
    assert name_rule(f"{file}:Few").id == "MINE-1"
    assert named_rules() == (f"{file}:Few",)
    session = after(*SIXTEEN)
    found = broken(session, "MINE-1")
    assert (found.text, found.deficit) == ("16, most 17", 1)  # an LRU batch had one
    assert found.statement == RULES["MINE-1"].statement
    session.do(parse_action("fork A B"))
    assert broken(session, "MINE-1").text == "32, most 32"
    session.do(parse_action("exit B"))
    assert broken(session, "MINE-1").text.endswith("most 32")
    before = session.rules.violations[:]
    session.goto(0)
    assert not session.rules.broken
    session.goto(session.end)
    assert session.rules.violations == before


def test_what_a_rule_remembers_is_a_part_of_the_state(file: str) -> None:
    name_rule(f"{file}:Few")
    model = Model.of(after(*SIXTEEN))
    assert model.machine.derived.tables["own MINE-1"] == {"most": 17}


def test_what_a_rule_raises_is_what_it_says(file: str) -> None:
    name_rule(f"{file}:Raises")
    found = after(*SIXTEEN).rules.broken["MINE-3", "the rule itself"]
    line = 1 + TEXT[: TEXT.index("raise SystemExit")].count("\n")
    assert found.text == f"SystemExit: 3 ({file}:{line}:9)"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("NoWord", "no word 'page.refcount'; expected page._refcount"),
        ("OneText", "words are no fields"),
        ("Taken", "the id is 'I-05'"),
        (
            "Nothing",
            "has no rule 'Nothing'; expected one of Few, Mapped, Raises, NoWord, OneText, Taken",
        ),
    ],
)
def test_what_is_no_rule_is_refused_with_its_place(file: str, name: str, words: str) -> None:
    with pytest.raises(UnknownRuleError) as error:
        name_rule(f"{file}:{name}")
    assert words in str(error.value)
    assert not named_rules()


def test_two_rules_of_one_id_and_naming_one_again(file: str) -> None:
    name_rule(f"{file}:Few")
    other = Path(file).with_name("other.py")
    other.write_text(TEXT)
    with pytest.raises(UnknownRuleError, match="another rule is called MINE-1"):
        name_rule(f"{other}:Few")
    Path(file).write_text(TEXT.replace("<= 10", "<= 20"))
    name_rule(f"{file}:Few")
    assert not after(*SIXTEEN).rules.broken
    Path(file).write_text("broken(")
    with pytest.raises(UnknownRuleError, match=r"mine\.py:1:\d+: SyntaxError"):
        name_rule(f"{file}:Few")
    assert named_rules() == (f"{file}:Few",)


def test_expectations_of_a_rule_need_it_named(
    file: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    document = tmp_path / "own.md"
    document.write_text(
        '+++\ntitle = "t"\nnumber = 3\nkernels = ["7.2"]\ntags = []\nsummary = "s"\n+++\n'
        "```mm\n" + "\n".join(SIXTEEN) + "\n```\n```expect\nMINE-1 broken 4 worst 1\n```\n"
    )
    assert main(["check", str(document)]) == ExitCode.FAILED
    assert "no rule MINE-1 is watched" in capsys.readouterr().out
    assert main(["check", "--rule", f"{file}:Few", str(document)]) == ExitCode.OK
    assert main(["rules", "MINE-1"]) == ExitCode.OK
    assert "No folio has more than ten references." in capsys.readouterr().out


def test_rules_of_distributions_are_listed_without_being_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    package = tmp_path / "mmtui_rule_demo"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "mine.py").write_text(TEXT)
    points = "[mmtui.rules]\nfew = mmtui_rule_demo.mine:Few\nnone = mmtui_rule_demo.mine:No\n"
    distribution(tmp_path, "mmtui-rule-demo", points)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert main(["rules"]) == ExitCode.OK
    assert "mmtui_rule_demo.mine:Few, installed with" in capsys.readouterr().out
    assert not os.path.exists(package / "RAN")
    try:
        assert main(["run", "1", "--rule", "none"]) == ExitCode.USAGE
        assert "none of mmtui-rule-demo 1.0:" in capsys.readouterr().err
        assert main(["run", "1", "-k", "7.2", "--rule", "few"]) == ExitCode.OK
        assert "rule MINE-1 broken" in capsys.readouterr().out
    finally:
        forget_rules()
        for name in [name for name in sys.modules if name.startswith("mmtui_rule_demo")]:
            del sys.modules[name]


def test_a_typed_rule_is_watched_from_the_first_event(file: str) -> None:
    from unittest.mock import MagicMock

    desk = MagicMock()
    execute(desk, f"rule {file}:Few")
    desk.replay_on.assert_called_once_with(desk.bench.kernel)
    assert named_rules() == (f"{file}:Few",)
