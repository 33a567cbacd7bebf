"""The names of what runs start from."""

AUTO = "auto"
"""The weights that a model has where it looks trained or has frozen parameters, else others."""

FRESH = "fresh"
"""Other weights for every seed, the same for all optimizers; frozen parameters stay."""

GIVEN = "given"
"""The weights that the model has."""

INITS = (AUTO, FRESH, GIVEN)
