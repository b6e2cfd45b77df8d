"""The plan: its rows, what it promises and how each figure is known."""
