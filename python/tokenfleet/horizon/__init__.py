"""Plans over a horizon: from a built scenario to orders, periods, outlooks and their proof."""
