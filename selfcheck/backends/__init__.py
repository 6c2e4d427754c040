"""Stores that can be read back: one file a kind."""
