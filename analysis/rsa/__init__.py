"""Representational similarity analysis on arrays: distances, correlations, noise ceilings."""
