"""Bundles on processors that are not at hand, emulated by QEMU in user mode."""
