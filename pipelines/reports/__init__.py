"""The page of a subject, made from its derivatives."""
