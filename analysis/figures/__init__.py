"""The paper's figures: one module per kind, `write` puts them into files."""
