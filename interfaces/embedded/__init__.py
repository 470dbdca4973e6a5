"""The embedded engine: the numerical work behind the interfaces, without nipype."""
