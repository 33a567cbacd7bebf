"""Training by other people's loops, with their own libraries."""
