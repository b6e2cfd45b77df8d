"""tokenfleet as tools of a language model's host, by the Model Context Protocol."""
