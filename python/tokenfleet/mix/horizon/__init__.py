"""Plans over periods and outlooks: one problem made of those of all nodes, solved and measured."""
