"""Tasks: what an optimizer is tried on. Built in, and the class to make your own."""

from .batch_shapes import examine_batches
from .catalogue import Builder, builtin, find, registry
from .check import examine
from .digits import digits_cnn, digits_mlp, digits_softmax, digits_svm
from .metric import Metric
from .synthetic import quadratic, spiral_mlp
from .tabular import breast_cancer_logistic, diabetes_mlp, wine_mlp
from .task import Task

for _build in (
    digits_softmax,
    digits_svm,
    digits_mlp,
    digits_cnn,
    breast_cancer_logistic,
    wine_mlp,
    diabetes_mlp,
    quadratic,
    spiral_mlp,
):
    builtin(_build)

__all__ = ["Builder", "Metric", "Task", "examine", "examine_batches", "find", "registry"]
