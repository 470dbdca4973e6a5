"""Patterns of regions, which voxels are selected, and the RDMs of the brain."""
