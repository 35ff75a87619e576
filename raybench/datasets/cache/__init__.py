"""Decoded images on disk: content-addressed, memory-mapped, built once per node."""
