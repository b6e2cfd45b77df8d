"""Operating points of single replicas: kept, searched, compared."""
