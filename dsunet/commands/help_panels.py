"""Panels of options in the help of `dsunet` and `dsunet-export`."""

DATA = "Data"
MODEL = "Model"
TEACHER = "Teacher"
OPTIMIZATION = "Optimization"
VALIDATION = "Validation"
COMPUTATION = "Computation"
