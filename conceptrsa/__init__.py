"""Which neural network explains which brain region?"""
