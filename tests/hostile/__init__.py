"""Inputs that attack the commands: each is answered by its status and one line, in bounds.

`python -m tests.hostile` runs all of them, each in a process of its own with limits of time and
memory (a few minutes); the gate runs a sample by a fixed rule (`tests/test_hostile.py`).
"""
