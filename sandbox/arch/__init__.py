"""Architecture layers."""
