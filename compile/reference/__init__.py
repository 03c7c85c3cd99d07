"""Florence-2 in plain ``torch.nn``: the model that every compiled graph is held against."""
