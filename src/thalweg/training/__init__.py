"""Training: runs and lanes of runs on tasks, and trajectories on surfaces."""

FILE = "thalweg_file_"  # begins the module name of a file given on the command line
