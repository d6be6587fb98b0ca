"""Which S3 server the usual AWS_* variables name. Keys are read by each library itself, never here."""

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import pyarrow.fs as pafs

DEFAULT_REGION = "us-east-1"
ATTEMPTS = 10


@dataclass(frozen=True)
class Endpoint:
    """An S3 server.

    Attributes
    ----------
    url
        Its address; empty for the one of AWS itself.
    region
        The region that requests are signed for.
    """

    url: str
    region: str

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
        """The server as an Arrow file system, which tries a failed request again."""
        import pyarrow.fs as pafs

        place = urlsplit(self.url)
        named = {"endpoint_override": place.netloc, "scheme": place.scheme} if self.url else {}
        retries = pafs.AwsStandardS3RetryStrategy(max_attempts=ATTEMPTS)
        return pafs.S3FileSystem(region=self.region, retry_strategy=retries, **named)


def bucket_and_prefix(uri: str) -> tuple[str, str]:
    """The bucket of ``s3://bucket/prefix``, and the prefix without slashes at its ends."""
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    return bucket, prefix.strip("/")
