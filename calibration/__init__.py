"""Data to calibrate INT8 on.  Nothing is here yet."""
