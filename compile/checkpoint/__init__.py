"""From the files of a Florence-2 checkpoint to the reference model: formats, names, sizes, settings."""
