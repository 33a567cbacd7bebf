"""A fair race between optimizers: search, fresh paired runs, verdict."""
