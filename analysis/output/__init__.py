"""What a comparison writes: tables, figures, the report and its provenance."""
