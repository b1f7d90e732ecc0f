"""Runs from what other tools made, one file a format."""
