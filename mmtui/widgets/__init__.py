"""Widgets of the application; each draws lines that a view made."""
