"""Programs outside Python: how any of them is run, and paths that they can be told of."""
