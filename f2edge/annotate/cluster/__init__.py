"""Annotate on many machines with Ray, which is imported nowhere else, and only on demand."""
