"""Pretrained weights: where they are, what they hold, and how they fit an architecture."""
