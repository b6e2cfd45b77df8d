"""Why: what conflicts in an infeasible problem, and the best plan of one system type."""
