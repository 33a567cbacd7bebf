"""Training: runs and lanes of runs on tasks, and trajectories on surfaces."""
