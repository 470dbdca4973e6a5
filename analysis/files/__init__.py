"""Files that others made: arrays, RDMs, pictures and labels of stimuli."""
