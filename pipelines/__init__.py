"""Workflows, BIDS reading, derivatives and the command line."""
