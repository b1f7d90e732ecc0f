"""Seeing a run in the terminal."""
