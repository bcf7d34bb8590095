"""Pairs of actions on two CPUs under many schedules, held against both orders one after the other.

`python -m tests.pairs` plays them all; the gate plays a sample (`test_pairs.py`).
"""
