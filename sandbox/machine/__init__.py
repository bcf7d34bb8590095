"""The machine: words, tasks and the pure functions that let one CPU do its next event."""
