"""Inference: permutations, intervals and what models explain together."""
