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

_TIERS: Final = {"Invocation": 50_000, "MinInvocation": 6_000, "Compile": 150_000, "BackEdge": 400_000}
FEW_ROWS: Final = 300_000
"""An extract of so many is done before the second compiler saves what it costs: of 4,442 rows it takes 18
CPU-seconds without it instead of 22, of 150,000 it takes 22 instead of 26."""


def java(has_few_rows: bool) -> list[str]:
    """Java's options of a driver."""
    # Most code of a job runs for seconds, and Java would spend more on compiling it well than that saves:
    # with 10 times the usual thresholds of the second compiler (-XX:+PrintFlagsFinal) the features of a
    # million rows take 91 CPU-seconds, with 4 times 93, with twice 96, with 40 times 94 to 104. What is hot
    # with more rows is compiled all the same.
    late = [f"-XX:Tier4{what}Threshold={n}" for what, n in _TIERS.items()]
    # Its pauses cost nobody anything, and code needs no barriers for the parallel collector: the features of
    # a million rows take a tenth less CPU than with G1.
    return [*(["-XX:TieredStopAtLevel=1"] if has_few_rows else late), "-XX:+UseParallelGC"]


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
