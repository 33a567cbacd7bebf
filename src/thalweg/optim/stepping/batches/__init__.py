"""Parameters that step together, by what steps them."""
