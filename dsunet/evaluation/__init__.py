"""Evaluation of masks: metrics, tables and reports, and the paper's published values."""
