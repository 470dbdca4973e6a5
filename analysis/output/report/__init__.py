"""The report of a comparison: one page that needs no network, and what it is made of."""
