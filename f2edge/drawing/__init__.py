"""What :func:`f2edge.draw` is made of: smooth outlines, and captions where there is room for them."""
