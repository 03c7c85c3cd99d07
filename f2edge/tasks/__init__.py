"""The tasks of Florence-2: their prompts, and the parsers of their answers."""
