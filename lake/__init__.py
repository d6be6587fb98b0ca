"""Data at rest, and what every stage stands on: settings, paths, columns, partitions, storage and records."""
