"""What each pane shows: immutable views of the machine, and how they become styled lines.

Nothing here knows the screen library, so all of it is tested as plain text.
"""
