"""Figures, one module per kind; `all_figures` puts them into files."""
