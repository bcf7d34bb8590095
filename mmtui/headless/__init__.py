"""The commands that need no screen; none of them imports textual or rich."""
