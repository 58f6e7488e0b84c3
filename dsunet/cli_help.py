"""Panels of options in the help of `dsunet` and `dsunet-export`."""

DATA = "Data"
MODEL = "Model"
OPTIMIZATION = "Optimization"
VALIDATION = "Validation"
COMPUTATION = "Computation"
