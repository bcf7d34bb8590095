"""The engine: a machine whose memory obeys the accounting rules of Linux.

A library of its own: nothing in it imports a screen (`textual`, `rich`) or the
application (`mmtui`).
"""
