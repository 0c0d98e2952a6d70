"""Scenes of people whose annotations are all read from what was drawn."""
