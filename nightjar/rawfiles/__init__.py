"""The check of raw files before Spark starts, by the object of each file's format (`lake.formats`)."""
