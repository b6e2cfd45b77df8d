"""Column generation: a large mix is solved over few pairs of pool and candidate."""
