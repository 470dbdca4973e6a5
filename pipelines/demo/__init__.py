"""A BIDS data set with planted truth, and the table that compares it with what was recovered."""
