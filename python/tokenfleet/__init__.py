"""tokenfleet: which AI hardware serves a demand for tokens at the least cost per token."""
