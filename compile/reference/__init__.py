"""Florence-2 in plain ``torch.nn``: the reference that every compiled graph is compared with."""
