"""The networks themselves: here torch and the libraries of architectures are first imported."""
