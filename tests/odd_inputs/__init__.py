"""Inputs as they come from other programs and other people, made here for the tests."""
