"""Evaluation of masks: metrics, tables and reports, and the paper's published values.

evaluate      evaluation of models, or of saved masks, on datasets
predictors    models behind one interface: checkpoints, ONNX files, engines
test_sets     ground-truth masks and their images
scorer        metrics in worker processes
metrics       the metrics of one image and of a dataset
pair_scores   the metrics of a model on pairs, in this process
reliance      dependence of the masks on each encoder
results       the results of an evaluation, also as JSON
published     the published values
table         the table as plain text
paper_table   the tables as Markdown and LaTeX
table_format  the formats of tables
html_report   the report as HTML
report_files  the files of a report
"""
