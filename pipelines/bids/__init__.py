"""What a BIDS data set holds: subjects, runs, events, timing, and what is wrong with them."""
