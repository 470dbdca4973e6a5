"""Betas in, answer out: patterns, RDMs, RSA, statistics, figures."""
