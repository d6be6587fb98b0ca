"""Data at rest, and what every stage stands on: settings, paths, columns, partitions, storage and records."""

from lake import processor

# Here, since every process of ours imports this package before anything that loads numpy.
processor.fix()
