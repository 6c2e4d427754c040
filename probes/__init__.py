"""Checks that ask a target: one file or folder a kind."""
