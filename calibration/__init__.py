"""Calibrate INT8: choose pictures and prompts, and record the inputs of each graph on them."""
