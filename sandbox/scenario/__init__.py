"""Scenarios, presets and expectations: what a person writes and the sandbox runs."""
