"""What every word of the machine is: one table, for the application and for the reference pages.

`terms` declares what a term is; `folio_terms`, `entry_terms` and `process_terms` are the table;
`writers` finds in the kernels' text who changes each of them.
"""

from sandbox.explain.table import TERMS, find, readers, terms_in, writers_of
from sandbox.explain.terms import Kind, Term

__all__ = ["TERMS", "Kind", "Term", "find", "readers", "terms_in", "writers_of"]
