"""Networks and their features."""
