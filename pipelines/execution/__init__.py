"""Running workflows: processes, Slurm, resuming, disk space, forecast, progress."""
