"""Inputs as real data and real users have them, made in one place."""
