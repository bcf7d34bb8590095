"""Rules of a person's own: named by file and class, or by an installed distribution's entry point.

A distribution says ``[project.entry-points."mmtui.rules"] NAME = "module:CLASS"``.  As with
kernels, nothing is imported to list them, and only what the person names is run.

A rule's own error is what the rule then says: that it failed, with the place.  It goes on.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, ClassVar

from sandbox.errors import UnknownKernelError, UnknownRuleError, Where
from sandbox.kernels.installed import from_entry, installed
from sandbox.kernels.own import Files, contained, described, from_file, place_of
from sandbox.machine.fields import FIELDS
from sandbox.machine.handles import Folio
from sandbox.machine.memory import ADDR_MASK, Event
from sandbox.machine.offsets import COMPOUND_HEAD
from sandbox.printable import one_line, printable, short
from sandbox.rules.catalogue import RULES, Rule, Scope
from sandbox.rules.engine import EVERY_ENGINE

if TYPE_CHECKING:
    from sandbox.rules.engine import RuleEngine

__all__ = ["GROUP", "OwnRule", "State", "name_rule", "named_rules", "watch_own"]

GROUP = "mmtui.rules"
"""The group of entry points that are rules."""

_ID = re.compile(r"(?!I-|N-)[A-Z]{1,8}-[0-9]{1,4}", re.ASCII)
_TEXTS = ("statement", "formula", "source", "explanation")

_named: dict[str, tuple[type[OwnRule], Files]] = {}
"""What the person at this process named, by what they typed, with its files."""


class State:
    """What a rule sees: words, names and the ledger at the present event; nothing to change."""

    def __init__(self, engine: RuleEngine, rule: str) -> None:
        self._engine, self._rule = engine, rule
        self.kernel = engine.kernel
        self._table = f"own {rule}"
        self._remembered: dict[int | str, int] = engine.machine.derived.table(self._table, {})

    @property
    def position(self) -> int:
        """How many events were done."""
        return self._engine.machine.position

    def word(self, addr: int) -> int:
        """The value of the word at an address; raw, as the kernel has it (-1 is no mapping).

        Raises:
            IndexError: there is no such word.
        """
        if addr <= 0:
            raise IndexError(f"there is no word at {addr:#x}")
        value: int = self._engine.machine.memory.cells[addr]
        return value

    def folio_of(self, page: int) -> Folio:
        """The folio that a `struct page` belongs to, by its address."""
        return Folio(self.word((page & ~15) + COMPOUND_HEAD))

    def entries(self, folio: int) -> int:
        """How many leaf entries map a folio, as the page tables say."""
        return self._engine.ledger.leaves.get(folio & ADDR_MASK, 0)

    def name_of(self, folio: int) -> str:
        """A folio's name, such as ``F1``."""
        return self._engine.ledger.name_of(folio)

    def remembered(self, key: int | str, otherwise: int = 0) -> int:
        """What the rule remembers by a key; going back takes it back."""
        return self._remembered.get(key, otherwise)

    def remember(self, key: int | str, value: int | None) -> None:
        """Remember a number by a key until it is changed; None forgets it.

        Attributes of the rule would not be taken back with the events: keep everything here.
        """
        self._engine.machine.derived.put(self._table, key, value)


class OwnRule:
    """An invariant of a person's own; a subclass says which words it looks at, and judges.

    It is looked at after each event that changed one of its `words` (`changed`), and when nothing
    is in flight any more (`quiet`).  It says what holds and what does not by `report`.
    """

    id: ClassVar[str] = ""
    """Capitals, a hyphen and a number: ``MINE-1``; `I-` and `N-` are the catalogue's."""
    statement: ClassVar[str] = ""
    """What must hold, in a sentence."""
    formula: ClassVar[str] = ""
    source: ClassVar[str] = ""
    explanation: ClassVar[str] = ""
    words: ClassVar[Sequence[str]] = ()
    """Fields of structures: ``page._mapcount``, ``mm.mm_users``, ``pte_table.pte``."""

    def __init__(self, see: State, engine: RuleEngine) -> None:
        self.see = see
        self._report = engine

    def changed(self, event: Event, cpu: int, addr: int, old: int, new: int) -> None:
        """Look at a word of `words` that an event has just changed."""

    def quiet(self) -> None:
        """Look at everything: no CPU does anything; LRU batches may still hold references."""

    def report(
        self, ok: bool, key: int, subject: str, text: str, *words: int, deficit: int = 1
    ) -> None:
        """Say whether the rule holds for a subject: a number tells it from others.

        *text* says what is wrong, with the numbers; *words* are addresses of the words it is
        about; *deficit* is by how much.
        """
        if ok:
            self._report.holds(self.id, key)
        else:
            subject, text = one_line(str(subject), 60), one_line(str(text), 300)
            self._report.fails(self.id, key, subject, text, words, deficit)


# -- naming --------------------------------------------------------------------------------------


def named_rules() -> tuple[str, ...]:
    """The names that the person gave at this process, in that order, as they were typed."""
    return tuple(_named)


def name_rule(name: str) -> type[OwnRule]:
    """Take a rule from the person: `FILE.py:CLASS`, whose file is run now, or an entry point.

    Sessions that begin from now on watch it.  Naming a file again reads it again.

    Raises:
        UnknownRuleError: there is no such rule, or its file is broken (with the place).
    """
    try:
        found, files = _load(name)
    except UnknownKernelError as error:  # of a file that cannot be read or run
        raise UnknownRuleError(error.message, error.where, error.expected) from None
    taken = RULES.get(found.id)
    before = _named.get(name)
    if taken is not None and (before is None or before[0].id != found.id):
        raise UnknownRuleError(f"another rule is called {found.id}", expected="an id of its own")
    if before is not None:
        del RULES[before[0].id]
    _named[name] = found, files
    if watch_own not in EVERY_ENGINE:
        EVERY_ENGINE.append(watch_own)
    texts = {text: getattr(found, text) for text in _TEXTS}
    RULES[found.id] = Rule(id=found.id, scope=Scope.EVENT if found.words else Scope.QUIET, **texts)
    return found


def forget_rules() -> None:
    """Forget every rule that was named."""
    for rule, _ in _named.values():
        del RULES[rule.id]
    _named.clear()


def _load(name: str) -> tuple[type[OwnRule], Files]:
    if ":" in name:
        path, cls = name.rsplit(":", 1)
        return from_file(path, lambda files, module: (_class_of(files, module, cls), files))
    entries = [entry for entry in installed(GROUP) if entry.name == name]
    if len(entries) != 1:
        message = f"{'several rules' if entries else 'no rule'} {short(name, 60)!r} installed"
        raise UnknownRuleError(message, expected="FILE.py:CLASS, or one that `mmtui rules` lists")
    return from_entry(entries[0], lambda files, module, cls: (_class_of(files, module, cls), files))


def _class_of(files: Files, module: object, name: str) -> type[OwnRule]:
    rules = {
        key: value
        for key, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, OwnRule) and value is not OwnRule
    }
    if name not in rules:
        names = short(", ".join(rules), 200) or "a subclass of `sandbox.rules.own.OwnRule` in it"
        message = f"{files.path} has no rule {short(name, 60)!r}"
        raise UnknownRuleError(message, expected=f"one of {names}")
    found = rules[name]
    said = contained(files, lambda: {text: getattr(found, text) for text in ("id", *_TEXTS)})
    words = contained(files, lambda: found.words)
    where = place_of(files, found)
    _check_texts(said, where)
    if isinstance(words, str):
        raise UnknownRuleError("words are no fields", where, '("page._mapcount", ...)')
    found.words = contained(files, lambda: tuple(words))  # once: it may be an iterator
    _check_words(found.words, where)
    return found


def _check_texts(said: dict[str, object], where: Where) -> None:
    """Refuse a rule whose texts are none."""
    name = said["id"]
    if type(name) is not str or not _ID.fullmatch(name):
        shown = short(printable(name), 40) if type(name) is str else "no text"
        expected = "capitals, a hyphen, a number: MINE-1"
        raise UnknownRuleError(f"the id is {shown!r}", where, expected)
    for text in _TEXTS:
        value = said[text]
        if type(value) is not str or printable(value) != value or "\n" in value:
            raise UnknownRuleError(f"{text} is no line of printable text", where)
    if not said["statement"]:
        raise UnknownRuleError("the rule says nothing", where, 'statement = "..."')


def _check_words(words: Sequence[object], where: Where) -> None:
    """Refuse what is no field of a structure."""
    for word in words:
        if type(word) is not str:
            raise UnknownRuleError("words are no fields", where, '("page._mapcount", ...)')
        if word not in _FIELD_OF:
            near = get_close_matches(word, _FIELD_OF, 3)
            expected = " or ".join(near) or "STRUCT.FIELD, such as page._mapcount"
            raise UnknownRuleError(f"there is no word {short(word, 60)!r}", where, expected)


_FIELD_OF = {
    f"{each.struct.name.lower()}.{each.name}": each.number
    for each in FIELDS
    if each.struct is not None
}


# -- watching --------------------------------------------------------------------------------------


def watch_own(engine: RuleEngine) -> None:
    """Have an engine look at the rules that were named."""
    for rule, files in _named.values():
        _Watched(engine, rule, files)


class _Watched:
    """A rule of a person's own on a machine; what it raises is what it says."""

    def __init__(self, engine: RuleEngine, rule: type[OwnRule], files: Files) -> None:
        self._engine, self._files, self._id = engine, files, rule.id
        self._rule: OwnRule | None = None
        try:
            self._rule = rule(State(engine, rule.id), engine)
        except (Exception, SystemExit) as error:  # noqa: BLE001  # a person's own code
            self._fail(error)
            return
        for word in rule.words:
            engine.machine.check(_FIELD_OF[word], self._changed)
        if rule.quiet is not OwnRule.quiet:
            engine.machine.idle_watchers.append(self._quiet)

    def _changed(self, event: Event, cpu: int, addr: int, old: Any, new: Any) -> None:  # noqa: ANN401  # words
        assert self._rule is not None
        try:
            self._rule.changed(event, cpu, addr, old, new)
        except (Exception, SystemExit) as error:  # noqa: BLE001  # a person's own code
            self._fail(error)

    def _quiet(self) -> None:
        assert self._rule is not None
        try:
            self._rule.quiet()
        except (Exception, SystemExit) as error:  # noqa: BLE001  # a person's own code
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        text = f"{described(error)} ({place_of(self._files, error)})"
        self._engine.fails(self._id, -1, "the rule itself", text, ())
