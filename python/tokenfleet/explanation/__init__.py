"""Why a plan, and what would change it: `explain` and what it is made of."""
