"""Panels of options in the help of the `dsunet` commands."""

DATA = "Data"
MODEL = "Model"
OPTIMIZATION = "Optimization"
VALIDATION = "Validation"
OUTPUT = "Output"
COMPUTATION = "Computation"
