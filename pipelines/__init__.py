"""Which step follows which: workflows, BIDS reading, derivatives, the command line."""
