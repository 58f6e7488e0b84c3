"""The paper's ablation study (tables VII and VIII) on any dataset.

variant         the four networks, which differ in the injection only
ablate          training and evaluation of all four
ablation_table  the table of their metrics, with the paper's values
"""
