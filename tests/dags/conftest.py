"""Airflow's home in a temporary folder, before anything imports Airflow."""

import os
import tempfile

os.environ.setdefault("AIRFLOW_HOME", tempfile.mkdtemp(prefix="nightjar-airflow-"))
