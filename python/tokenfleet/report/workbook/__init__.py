"""A plan as a workbook whose every dollar is a formula over the cells of one sheet of inputs.

Prices, tariffs and money terms may be changed in it; the mix is the solver's and stays. Where a
change is so large that another mix would be better, the sheet says to run tokenfleet again.
"""
