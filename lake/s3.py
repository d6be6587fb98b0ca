"""`lake.storage.Storage` on an S3 server, and what other libraries need to reach the same server.

The server has to honour ``If-None-Match: *`` on a put; nothing else is asked of it than puts, reads
and listings. Keys come from the environment (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, or
whatever else the AWS libraries find) and are never held here.
"""

import hashlib
import io
import logging
import os
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, TypeVar

from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, IncompleteReadError

from lake.errors import ConfigError, NightjarError, StorageUnavailable
from nightjar_reader.endpoint import ATTEMPTS, Endpoint, bucket_and_prefix

if TYPE_CHECKING:
    import pyarrow.fs as pafs

log = logging.getLogger(__name__)

T = TypeVar("T")

_CHUNK: Final = 1 << 20
_MISSING: Final = frozenset({"404", "NoSuchKey"})
_TAKEN: Final = frozenset({"412", "PreconditionFailed"})
_RACED: Final = frozenset({"409", "ConditionalRequestConflict", "OperationAborted"})
_BUSY: Final = frozenset({"500", "502", "503", "504", "InternalError", "ServiceUnavailable", "SlowDown"})
_CUT: Final = (HTTPClientError, IncompleteReadError)
"""What a connection raises that ends in the middle of a body, which the library does not try again."""


class S3Storage:
    """`Storage` below a prefix of a bucket.

    Parameters
    ----------
    uri
        ``s3://bucket/prefix``.
    """

    def __init__(self, uri: str) -> None:
        self._bucket, self._prefix = bucket_and_prefix(uri)
        if not self._bucket:
            raise ConfigError(f"{uri}: expected s3://bucket/prefix, found no bucket")

    @property
    def root(self) -> str:
        """Bucket and prefix as a URI."""
        return f"s3://{self._bucket}/{self._prefix}".rstrip("/")

    def uri(self, path: str) -> str:
        """See `Storage.uri`."""
        return f"{self.root}/{path}"

    def _key(self, path: str) -> str:
        return f"{self._prefix}/{path}".lstrip("/")

    def _object(self, path: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": self._key(path)}

    def exists(self, path: str) -> bool:
        """See `Storage.exists`."""
        try:
            self.size(path)
        except FileNotFoundError:
            return False
        return True

    def size(self, path: str) -> int:
        """See `Storage.size`."""
        with _explained(self.uri(path)):
            return int(_client().head_object(**self._object(path))["ContentLength"])

    def sha256(self, path: str) -> str:
        """See `Storage.sha256`."""
        return self._get(path, lambda body: hashlib.file_digest(body, "sha256").hexdigest())

    def read(self, path: str) -> bytes:
        """See `Storage.read`."""
        return self._get(path, lambda body: bytes(body.read()))

    @contextmanager
    def fetched(self, path: str) -> Iterator[Path]:
        """See `Storage.fetched`: a temporary copy."""
        with tempfile.NamedTemporaryFile(prefix="nightjar-") as file:
            self._get(path, lambda body: _fill(file, body))  # type: ignore[arg-type]
            yield Path(file.name)

    def _get(self, path: str, consume: Callable[[Any], T]) -> T:
        """Read an object from start to end; begin again when the connection ends before the body does."""
        with _explained(self.uri(path)):
            return _again(lambda: consume(_Body(_client().get_object(**self._object(path)))))

    def list(self, prefix: str) -> list[str]:
        """See `Storage.list`."""
        folder = self._key(f"{prefix}/" if prefix else "")
        with _explained(self.uri(prefix)):
            pages = _client().get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=folder)
            keys = [entry["Key"] for page in pages for entry in page.get("Contents", ())]
        cut = len(self._key(""))
        return sorted(key[cut:] for key in keys if not key.endswith("/"))

    def put_new(self, path: str, data: bytes) -> bool:
        """See `Storage.put_new`."""
        return self._create(path, io.BytesIO(data), lambda: self.read(path) == data)

    def put_file(self, path: str, source: Path) -> bool:
        """See `Storage.put_file`."""
        if self.exists(path):
            return False
        with source.open("rb") as content:
            return self._create(path, content, lambda: self.sha256(path) == _sha256(source))

    def _create(self, path: str, body: BinaryIO, is_ours: Callable[[], bool]) -> bool:
        """Put an object unless there is one.

        Parameters
        ----------
        is_ours
            Whether the object that is there is this one: asked when a request was sent more than
            once, as the first may have succeeded and only its answer been lost.
        """
        with _explained(self.uri(path)):
            for left in reversed(range(ATTEMPTS)):
                body.seek(0)
                try:
                    _client().put_object(**self._object(path), Body=body, IfNoneMatch="*")
                    return True
                except ClientError as error:
                    if _code(error) in _TAKEN:
                        return _was_repeated(error, ATTEMPTS - 1 - left) and is_ours()
                    if _code(error) not in _RACED or not left:
                        raise
                _pause(ATTEMPTS - left)
        raise AssertionError("unreachable")

    def arrow(self) -> "tuple[pafs.FileSystem, str]":
        """See `Storage.arrow`."""
        return _filesystem(os.getpid(), Endpoint.from_environment()), f"{self._bucket}/{self._prefix}".rstrip(
            "/"
        )

    def delta(self) -> dict[str, str]:
        """See `Storage.delta`; delta-rs finds the keys in the environment."""
        endpoint = Endpoint.from_environment()
        place = {"endpoint": endpoint.url, "allow_http": str(endpoint.is_plain).lower()}
        retries = {"max_retries": str(ATTEMPTS), "retry_timeout": "120s"}
        return {**(place if endpoint.url else {}), "region": endpoint.region, **retries}


class _Body:
    """An object's content as a file that ends only where the object does."""

    def __init__(self, answer: Any) -> None:
        self._stream = answer["Body"]
        self._left = int(answer["ContentLength"])

    def read(self, size: int = -1) -> bytes:
        """The next bytes; `IncompleteReadError` where the stream ends early."""
        chunk: bytes = self._stream.read(None if size < 0 else size)
        self._left -= len(chunk)
        if self._left and (size < 0 or not chunk):
            raise IncompleteReadError(actual_bytes=len(chunk), expected_bytes=self._left)
        return chunk

    def readinto(self, buffer: bytearray) -> int:
        """Fill a buffer as far as the next bytes go."""
        chunk = self.read(len(buffer))
        buffer[: len(chunk)] = chunk
        return len(chunk)

    def readable(self) -> bool:
        """Always."""
        return True


def _fill(file: BinaryIO, body: _Body) -> None:
    file.seek(0)
    file.truncate()
    while chunk := body.read(_CHUNK):
        file.write(chunk)
    file.flush()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _again(work: Callable[[], T]) -> T:
    for attempt in range(1, ATTEMPTS):
        try:
            return work()
        except _CUT as error:
            log.debug("attempt %d: %s", attempt, type(error).__name__)
            _pause(attempt)
    return work()


def _pause(attempt: int) -> None:
    time.sleep(random.uniform(0, min(5.0, 0.1 * 2**attempt)))


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _was_repeated(error: ClientError, before: int) -> bool:
    return bool(before or error.response.get("ResponseMetadata", {}).get("RetryAttempts"))


@contextmanager
def _explained(uri: str) -> Iterator[None]:
    """Turn what the library raises into our errors, which name the address and never a key."""
    try:
        yield
    except ClientError as error:
        raise _refused(uri, _code(error)) from error
    except BotoCoreError as error:
        raise StorageUnavailable(
            f"{uri}: no whole answer from {Endpoint.from_environment()} ({type(error).__name__}); "
            "check AWS_ENDPOINT_URL, the keys in AWS_*, and that the server runs"
        ) from error


def _refused(uri: str, code: str) -> NightjarError | FileNotFoundError:
    if code in _MISSING:
        return FileNotFoundError(f"{uri}: no such file")
    told = f"{uri}: {Endpoint.from_environment()} answers {code}"
    if code in _BUSY:
        return StorageUnavailable(f"{told} after {ATTEMPTS} tries; run again when it is well")
    return ConfigError(f"{told}; check that the bucket exists and that the keys in AWS_* may use it")


def _client() -> Any:
    return _client_of(os.getpid(), Endpoint.from_environment())


@cache
def _client_of(process: int, endpoint: Endpoint) -> Any:
    """The client of a process; connections must not be shared with a fork."""
    import boto3
    from botocore.config import Config

    config = Config(
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
        s3={"addressing_style": "path"} if endpoint.url else {},
        connect_timeout=5,
        read_timeout=60,
    )
    session = boto3.session.Session()
    return session.client("s3", endpoint_url=endpoint.url or None, region_name=endpoint.region, config=config)


@cache
def _filesystem(process: int, endpoint: Endpoint) -> "pafs.FileSystem":
    return endpoint.filesystem()


def spark_options() -> dict[str, str]:
    """How Spark's s3a reaches the server; it finds the keys in the environment.

    The committer is Hadoop's first version: a failed attempt leaves no file among the good ones.
    """
    endpoint = Endpoint.from_environment()
    place = {
        "fs.s3a.endpoint": endpoint.url,
        "fs.s3a.path.style.access": "true",
        "fs.s3a.connection.ssl.enabled": str(not endpoint.is_plain).lower(),
    }
    options = {
        **(place if endpoint.url else {}),
        "fs.s3a.endpoint.region": endpoint.region,
        "fs.s3a.attempts.maximum": str(ATTEMPTS),
        "fs.s3a.retry.limit": str(ATTEMPTS),
        "mapreduce.fileoutputcommitter.algorithm.version": "1",
    }
    return {f"spark.hadoop.{name}": value for name, value in options.items()}
