"""Steps of the embedded engine, and steps that both engines share, as nipype interfaces."""
