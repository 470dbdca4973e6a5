"""One step each: numerics, and nipype interfaces around the engines."""
