"""Inference: permutations, bootstraps, intervals and what models explain together."""
