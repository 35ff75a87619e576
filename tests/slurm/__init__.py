"""Stand-ins for Slurm's commands, on hosts that share a folder; see ``tests/test_slurm.py``."""
