"""The workflows of a participant: which step follows which."""
