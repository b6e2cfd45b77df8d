"""How one model is searched: bound, cuts, rounding, neighbourhoods, proof."""
