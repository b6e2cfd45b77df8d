"""This room reads the scenario file, checks it, and remembers the place of every value.

Because places are remembered, an error can say `mine.yaml:14: workloads.chat.slos.0.limit_ms`.
`load` also reads the files that a scenario refers to: traces, measured columns and catalogs.
"""
