"""How long a step takes, against what its bytes cost and against other optimizers."""
