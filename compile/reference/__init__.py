"""Florence-2 in plain ``torch.nn``: the model that every compiled graph is held against."""

from f2edge.compile.reference.florence2 import Florence2

__all__ = ["Florence2"]
