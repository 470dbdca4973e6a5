"""Write tables, figures, the report and the provenance of a comparison."""
