"""Measure a bundle on this machine: scenarios, the state of the machine, memory, energy, starts, comparisons.

``f2edge.bench`` has the functions to call.
"""
