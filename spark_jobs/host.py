"""The program that runs the jobs of a night one after another, in one Spark: see `spark_jobs/hosting.py`."""

import importlib
import socket
import sys
from typing import Final

from spark_jobs.hosting import DONE
from spark_jobs.job import begin, carry_out
from spark_jobs.plans import ExtractPlan, FeaturesPlan
from spark_jobs.session import session

PLANS: Final = {"extract": ExtractPlan, "feature_tables": FeaturesPlan}
"""The jobs that it runs, and the plan of each."""


def main() -> None:
    """Run each job that a line from the submitter names, with its plan, and answer with a line.

    The submitter listens on the socket whose path is the program's only argument. The program ends with
    the connection, or after a job that failed: what such a one leaves of Spark is not known.
    """
    begin()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(sys.argv[1])
        spark = session("nightjar")
        with connection.makefile() as lines:
            for line in lines:
                name, _, plan_uri = line.strip().partition(" ")
                run = importlib.import_module(f"spark_jobs.{name}").run
                done = carry_out(plan_uri, PLANS[name], run)
                spark.catalog.clearCache()
                connection.sendall(DONE)
                if not done:
                    raise SystemExit(1)


if __name__ == "__main__":
    main()
