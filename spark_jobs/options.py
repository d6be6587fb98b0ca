"""What a job asks of Spark and Java before they start; importable without Spark."""

from collections.abc import Mapping
from typing import Final

SECRET: Final = "_SPARK_AUTH_SECRET"
"""The environment variable with the secret of a standalone cluster; master and workers read it themselves."""

_SUMS: Final = " ".join(
    [
        # A BLAS or LAPACK of the machine, where it has one, sums in an order of its own.
        "-Ddev.ludovic.netlib.blas.allowNative=false",
        "-Ddev.ludovic.netlib.lapack.allowNative=false",
        # Java's vectors have as many lanes as the processor, and each lane is a sum. With 16 bytes, which
        # every processor has, they sum as the Java code does that runs where there are no vectors.
        "-XX:MaxVectorSize=16",
    ]
)

_TIERS: Final = {"Invocation": 200_000, "MinInvocation": 24_000, "Compile": 600_000, "BackEdge": 1_600_000}
OF_ALL: Final[Mapping[str, str]] = {
    # Most code of a job runs for seconds, and Java would spend more on compiling it well than that saves:
    # a day's extract takes 24 in 100 CPU-seconds less with 40 times the usual thresholds of the second
    # compiler (-XX:+PrintFlagsFinal), the features of a million rows 17. What is hot with more rows is
    # compiled all the same.
    "spark.driver.defaultJavaOptions": " ".join(
        [
            *(f"-XX:Tier4{what}Threshold={n}" for what, n in _TIERS.items()),
            # Its pauses cost nobody anything, and code needs no barriers for it: the features of a million
            # rows take a tenth less CPU than with G1.
            "-XX:+UseParallelGC",
        ]
    ),
}
"""The options of every job, beside those that follow from the settings."""
OF_JOB: Final[Mapping[str, dict[str, str]]] = {
    "als": {
        "spark.driver.extraJavaOptions": _SUMS,
        "spark.executor.extraJavaOptions": _SUMS,
        # A shuffle without a number of partitions of its own has those of its input: one.
        "spark.default.parallelism": "1",
        # What is spilled comes back in another order. With too little memory the job fails, and says so.
        "spark.shuffle.spill.initialMemoryThreshold": "1t",
    }
}
"""The options of each job that needs some."""
