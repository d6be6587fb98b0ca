"""The S3 server that the usual AWS_* variables name. Each library reads the keys by itself."""

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from nightjar_reader_v1.errors import ReaderError

if TYPE_CHECKING:
    import pyarrow.fs as pafs

DEFAULT_REGION = "us-east-1"  # servers other than AWS accept it by default
ATTEMPTS = 11
"""Tries of one request by an Arrow file system; their pauses add up to 51 seconds."""


@dataclass(frozen=True)
class Endpoint:
    """An S3 server.

    Attributes
    ----------
    url
        Its address; empty for AWS itself.
    region
        The region that requests are signed for.

    Raises
    ------
    ReaderError
        When the address is invalid.
    """

    url: str
    region: str

    def __post_init__(self) -> None:
        if self.url and not re.match("https?://[^/]", self.url):
            raise ReaderError(f"AWS_ENDPOINT_URL: expected http://host:port or https://, found {self.url!r}")

    @classmethod
    def from_environment(cls) -> "Endpoint":
        """What `AWS_ENDPOINT_URL_S3` or `AWS_ENDPOINT_URL`, and `AWS_REGION` say."""
        get = os.environ.get
        url = get("AWS_ENDPOINT_URL_S3") or get("AWS_ENDPOINT_URL") or ""
        return cls(url.rstrip("/"), get("AWS_REGION") or get("AWS_DEFAULT_REGION") or DEFAULT_REGION)

    def __str__(self) -> str:
        return self.url or f"AWS S3 in {self.region}"

    @property
    def is_plain(self) -> bool:
        """Whether it is reached without TLS."""
        return self.url.startswith("http://")

    def filesystem(self) -> "pafs.S3FileSystem":
        """The server as an Arrow file system, which retries failed requests."""
        import pyarrow.fs as pafs

        parts = urlsplit(self.url)
        overrides = {"endpoint_override": parts.netloc, "scheme": parts.scheme} if self.url else {}
        # The "standard" strategy gives up at once after many failures in a short time.
        retries = pafs.AwsDefaultS3RetryStrategy(max_attempts=ATTEMPTS)
        return pafs.S3FileSystem(region=self.region, retry_strategy=retries, **overrides)
