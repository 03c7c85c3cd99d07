"""Load the files of a Florence-2 checkpoint into the reference model."""
