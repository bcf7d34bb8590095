"""What the application holds: a document, a session, the selection, and how they move.

Nothing here knows the screen library.
"""
