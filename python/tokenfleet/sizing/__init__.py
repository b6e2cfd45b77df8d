"""Sizing without a file: a question in one line, the scenario it stands for, and its answers."""
