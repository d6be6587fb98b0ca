"""File checks: what has to hold of a raw file before a Spark session is worth starting."""
