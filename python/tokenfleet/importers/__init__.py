"""This room reads the formats of others, one module for each.

Results of load generators, request traces, model configurations and length distributions come in;
measurements, classes and demand in the catalog's names go out. `detect` tells what a file is from
its content and never from its name: for example, a JSON object with `mean_ttft_ms` and
`request_throughput` is a result of `vllm bench serve`.
"""
