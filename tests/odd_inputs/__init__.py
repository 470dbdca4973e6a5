"""Inputs as they should not be, one module for each kind."""
