"""Where steps run other than in the processes of this machine, and how a user says so."""
