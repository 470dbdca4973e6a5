"""Models of libraries by name, held against the libraries themselves."""
