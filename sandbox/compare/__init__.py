"""Two runs of one scenario beside each other: where they part, in what they end, what they cost."""
