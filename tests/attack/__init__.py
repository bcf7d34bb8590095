"""Attacks on the application and the commands: seconds of them in the tests, hours by hand.

`python -m tests.attack NAME` runs one of the longer ones; CONTRIBUTING.md says which there are.
They attack what `MMTUI` names (a command line), by default this interpreter's `-m mmtui`.
"""
