"""One step each: nipype interfaces around the engines."""
