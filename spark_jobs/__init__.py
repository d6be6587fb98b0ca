"""Programs for spark-submit, each started with the URI of one JSON request."""
