"""What INT8 is calibrated on: pictures, prompts, and a record of what flows into each graph for them."""
