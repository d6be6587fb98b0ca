"""File checks: what has to hold of a raw file before Spark is started for it."""
