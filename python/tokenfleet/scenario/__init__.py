"""The scenario file: read, checked, and remembered with its places."""
