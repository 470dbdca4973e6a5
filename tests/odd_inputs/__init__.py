"""Inputs as real data sets have them, each made in one place."""
