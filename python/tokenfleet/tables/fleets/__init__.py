"""A table whose rows are whole fleets."""
