"""This room tells what conflicts where no plan exists, and what one system type alone would cost.

For example: "7.1 kW are missing at eu-frankfurt", or "the best plan of one system type costs 22 %
more". `infeasible` works on the model itself, `infeasible_large` on the relaxation of a model too
large to be built, and `single` on the models of one type each.
"""
