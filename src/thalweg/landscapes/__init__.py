"""Slices of a model's loss through its weights, and training paths in them."""

from __future__ import annotations

from .retraining import race_paths
from .slices import Landscape, PlanePath, landscape
from .weights import WeightPath

__all__ = ["Landscape", "PlanePath", "WeightPath", "landscape", "race_paths"]
