"""The check of raw files before Spark starts: `check.py` calls the reader of a file's format.

A reader verifies a file and names its columns. CSV and JSON lines, and a Parquet file that Spark cannot
read, are also copied to Parquet for Spark. No value is cast here: `spark_jobs/casts.py:expression`
makes our columns of the raw ones.
"""
