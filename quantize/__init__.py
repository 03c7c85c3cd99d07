"""INT8.  Nothing is here yet."""
