"""A table whose rows are whole fleets: counts of systems in, the cost and the verdict out."""
