"""The command `nightjar`: the night without Airflow, the demo, and pages for people."""
