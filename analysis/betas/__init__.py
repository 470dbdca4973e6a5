"""Readers of betas: one module per layout, all giving `SubjectPatterns`."""
