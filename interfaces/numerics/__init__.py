"""The embedded engine: arrays in, arrays out, without nipype."""
