"""The invariants: a catalogue, and an engine that checks what an event touched.

A rule is looked at only when a word it reads changes (scope *event*), when a CPU drops its last
page-table lock (*ptl*), when a check of the kernel accepts something (*accept*), or when the whole
machine is quiet (*quiet*).  Everything is undone with the journal.
"""

from sandbox.rules.catalogue import RULES, Rule, Scope
from sandbox.rules.complaints import Complaint
from sandbox.rules.engine import RuleEngine, Violation

__all__ = ["RULES", "Complaint", "Rule", "RuleEngine", "Scope", "Violation"]
