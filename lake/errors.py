"""The errors that Nightjar raises on purpose; each message says what to do next."""


class NightjarError(Exception):
    """Base of every error that Nightjar raises on purpose. A retry may mend it."""


class PermanentError(NightjarError):
    """A retry cannot mend it: bad input, a failed gate, a conflict."""


class ConfigError(PermanentError):
    """A setting or a field of the data set's TOML is missing or wrong."""


class FileFault(PermanentError):
    """A raw file is missing, empty, unreadable, or has the wrong columns."""


class GateFailed(PermanentError):
    """A critical check failed; nothing of the attempt is committed."""


class Conflict(PermanentError):
    """Another run committed the same partition, with other content, while this one worked."""


class JobFailed(NightjarError):
    """A Spark job ended without a result; the message is the job's own."""


class StorageUnavailable(NightjarError):
    """The server that holds the files did not answer, even after several tries."""


class DiskFull(NightjarError):
    """There is no room for a file; no part of it exists under its name."""


class ClusterUnavailable(NightjarError):
    """Spark's master did not answer, gave no executor, or gave up the job."""
