"""Measurements of mmtui: start-up, the screen, keys after many actions, the engine, memory.

``python -m benchmarks`` in a clone prints tables; CONTRIBUTING.md says how to read them.  Nothing
here is run by the tests, except that it runs at all (`tests/test_bench.py`).
"""
