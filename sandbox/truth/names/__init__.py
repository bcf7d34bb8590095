"""What words and their values are called, in panes, log, JSON, conformance and messages alike."""
