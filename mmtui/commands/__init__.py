"""Everything a person can do, declared once: keys, `:` lines, palette, footer and help follow."""
