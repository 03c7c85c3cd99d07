"""Florence-2's tasks: their prompts, and how their answers are read."""
