"""Programs for spark-submit, each started with the URI of one plan in JSON."""
