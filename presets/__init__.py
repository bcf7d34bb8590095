"""The library of presets: Markdown documents, read by `sandbox.scenario.presets`."""
