"""Read a BIDS data set: subjects, runs, events, timing, and their problems."""
