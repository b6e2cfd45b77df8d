"""A plan as one HTML file: parts, charts and the template that lays them out."""
