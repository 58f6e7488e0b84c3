"""Benchmark of artifacts: latency, throughput, cold start, memory and roofline.

benchmark            from options to results
workload             a runner in a setting: artifact, provider, origin of the input, batch, streams
origin               where a timed call takes its input from
image                the generated input image
measurement          warm-up until the latency is stable, then interleaved rounds
statistics           percentiles, and ratios with their range
roofline             time per branch of the network, compared with the peak of the machine
cold_start           time from a new process to the first mask
cold_start_process   the program that runs in that process
monitor              GPU clock, power and temperature during a measurement; CPU load before it
memory_use           memory use of the process and of the GPU
result_formats       results as tables, JSON and CSV
latency_plot         latency and throughput by batch, as SVG
"""
