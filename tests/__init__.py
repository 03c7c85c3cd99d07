"""The tests of f2edge; their folders mirror the rooms of the package."""
