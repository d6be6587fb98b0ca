"""`lake.storage.Storage` on an S3 server, and what other libraries need to reach the same server.

The server has to honour ``If-None-Match: *`` on a put. Beyond puts, it only has to serve reads and
listings, and deletes for maintenance. Keys come from the environment (`AWS_ACCESS_KEY_ID`,
`AWS_SECRET_ACCESS_KEY`, or whatever else the AWS libraries find) and are never held here.
"""

import hashlib
import io
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from itertools import count
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Final, TypeVar

import tenacity
from botocore import exceptions as boto
from botocore.exceptions import BotoCoreError, ClientError

from lake.disk import room_for, sha256_of
from lake.errors import ConfigError, NightjarError, StorageUnavailable
from nightjar_reader import address
from nightjar_reader.endpoint import Endpoint

log = logging.getLogger(__name__)

T = TypeVar("T")

ATTEMPTS: Final = 20
"""Tries of one request: pauses of 35 to 70 seconds in all outlast the restart of a server."""

# With jitter, so that clients that a server has refused do not all come back at once.
_PAUSE: Final = tenacity.wait_exponential(0.05, 2.5) + tenacity.wait_random_exponential(0.05, 2.5)
_WARN_AT: Final = 5  # fewer failures in a row are usual on a busy server
_CHUNK: Final = 1 << 20  # bytes in memory at once while a file is copied
_MISSING: Final = frozenset({"404", "NoSuchKey"})
_TAKEN: Final = frozenset({"412", "PreconditionFailed"})
_TRANSIENT: Final = frozenset({"409", "ConditionalRequestConflict", "OperationAborted", "RequestTimeout"})
"""Codes, beside 429 and 5xx, of failures after which the same request may succeed."""

_NO_ANSWER: Final = (
    boto.ConnectionError,
    boto.HTTPClientError,
    boto.IncompleteReadError,
    boto.FlexibleChecksumError,
)
_VARIABLES: Final = (
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
)
_NO_KEYS: Final = (boto.NoCredentialsError, boto.PartialCredentialsError, boto.CredentialRetrievalError)


class S3Storage:
    """`Storage` below a prefix of a bucket.

    Parameters
    ----------
    uri
        ``s3://bucket/prefix``.
    """

    def __init__(self, uri: str) -> None:
        place = address.parse(uri)
        self._bucket, self._prefix = place.bucket, place.path

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
        return int(self._head(path)["ContentLength"])

    def version(self, path: str) -> str:
        """See `Storage.version`."""
        answer = self._head(path)
        return f"{answer['ContentLength']} {answer['LastModified'].isoformat()} {answer['ETag']}"

    def _head(self, path: str) -> Any:
        return _retry(self.uri(path), lambda: _client().head_object(**self._object(path)))

    def sha256(self, path: str) -> str:
        """See `Storage.sha256`."""
        return self._get(path, lambda body: hashlib.file_digest(body, "sha256").hexdigest())

    def read(self, path: str) -> bytes:
        """See `Storage.read`."""
        return self._get(path, lambda body: bytes(body.read()))

    def open(self, path: str) -> BinaryIO:
        """See `Storage.open`."""
        return _Object(self.size(path), partial(self._range, path))  # type: ignore[return-value]

    def _range(self, path: str, start: int, length: int) -> bytes:
        return self._get(path, lambda body: bytes(body.read()), Range=f"bytes={start}-{start + length - 1}")

    @contextmanager
    def fetched(self, path: str) -> Iterator[Path]:
        """See `Storage.fetched`: a temporary copy, whose name ends as the file's does."""
        with tempfile.NamedTemporaryFile(prefix="nightjar-", suffix=PurePosixPath(path).suffix) as file:
            with room_for(Path(file.name)):
                self._get(path, lambda body: _fill(file, body))  # type: ignore[arg-type]
            yield Path(file.name)

    def _get(self, path: str, consume: Callable[[Any], T], **options: str) -> T:
        """Read an object from start to end; begin again when the connection ends before the body does."""
        query = self._object(path) | options
        return _retry(self.uri(path), lambda: consume(_client().get_object(**query)["Body"]))

    def list(self, prefix: str) -> list[str]:
        """See `Storage.list`."""
        cut = len(self._key(""))
        return sorted(key[cut:] for key in self._keys(f"{prefix}/" if prefix else "") if key[-1] != "/")

    def _keys(self, start: str) -> Iterator[str]:
        """All keys below a folder, page by page."""
        place: dict[str, str] = {"Bucket": self._bucket, "Prefix": self._key(start)}
        while place:
            page = _retry(self.uri(start), partial(_list_page, place))
            yield from (entry["Key"] for entry in page.get("Contents", ()))
            more = page.get("NextContinuationToken")
            place = place | {"ContinuationToken": more} if more else {}

    def put_new(self, path: str, data: bytes) -> bool:
        """See `Storage.put_new`."""
        return self._create(path, io.BytesIO(data), lambda: self.read(path) == data)

    def put_file(self, path: str, source: Path) -> bool:
        """See `Storage.put_file`."""
        if self.exists(path):
            return False
        with source.open("rb") as content:
            return self._create(path, content, lambda: self.sha256(path) == sha256_of(source))

    def _create(self, path: str, body: BinaryIO, is_ours: Callable[[], bool]) -> bool:
        """Put an object unless there is one.

        Parameters
        ----------
        is_ours
            Whether the object that exists is this one. Only retries call it: the put before may have
            succeeded and only its answer been lost.
        """
        tries = count()

        def put() -> bool:
            is_first = not next(tries)
            body.seek(0)
            try:
                _client().put_object(**self._object(path), Body=body, IfNoneMatch="*")
            except ClientError as error:
                if _code(error) not in _TAKEN:
                    raise
                return not is_first and is_ours()
            return True

        return _retry(self.uri(path), put)

    def remove(self, folder: str) -> None:
        """See `Storage.remove`."""
        for key in list(self._keys(f"{folder}/")):
            _retry(self.uri(folder), partial(_delete, {"Bucket": self._bucket, "Key": key}))

    def delta(self) -> dict[str, str]:
        """See `Storage.delta`; delta-rs finds the keys in the environment."""
        endpoint = Endpoint.from_environment()
        place = {"endpoint": endpoint.url, "allow_http": str(endpoint.is_plain).lower()}
        retries = {"max_retries": str(ATTEMPTS), "retry_timeout": "120s"}
        return {**(place if endpoint.url else {}), "region": endpoint.region, **retries}


class _Object(io.RawIOBase):
    """An object as a file; every read is a request.

    Parameters
    ----------
    size
        Its length in bytes.
    fetch
        Reads bytes, by the position of the first and their number.
    """

    def __init__(self, size: int, fetch: Callable[[int, int], bytes]) -> None:
        self._size = size
        self._fetch = fetch
        self._at = 0

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to where the next read begins."""
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer as far as the object goes."""
        length = max(min(len(buffer), self._size - self._at), 0)
        buffer[:length] = self._fetch(self._at, length) if length else b""
        self._at += length
        return length


def _delete(place: dict[str, str]) -> None:
    _client().delete_object(**place)


def _list_page(place: dict[str, str]) -> dict[str, Any]:
    page: dict[str, Any] = _client().list_objects_v2(**place)
    return page


def _fill(file: BinaryIO, body: Any) -> None:
    file.seek(0)
    shutil.copyfileobj(body, file, _CHUNK)
    file.flush()


def _retry(uri: str, request: Callable[[], T]) -> T:
    """Make a request, and retry it while the server is away or busy, or an answer ends early.

    Raises
    ------
    FileNotFoundError, ConfigError, StorageUnavailable
        In place of the library's error; the message names the address and never a key.
    """
    retrying = tenacity.Retrying(
        stop=tenacity.stop_after_attempt(ATTEMPTS),
        wait=_PAUSE,
        retry=tenacity.retry_if_exception(_is_transient),
        before_sleep=partial(_log_retry, uri),
        reraise=True,
    )
    try:
        return retrying(request)
    except (BotoCoreError, ClientError) as error:
        raise _translate(uri, error) from error


def _is_transient(error: BaseException) -> bool:
    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return status == 429 or status >= 500 or _code(error) in _TRANSIENT
    return isinstance(error, _NO_ANSWER)


def _log_retry(uri: str, state: tenacity.RetryCallState) -> None:
    """Log a retry; a warning is logged once, after a few failures."""
    level = logging.WARNING if state.attempt_number == _WARN_AT else logging.DEBUG
    error = state.outcome.exception() if state.outcome else None
    reason = _code(error) or type(error).__name__
    log.log(level, "%s: %s from %s; trying again for a while", uri, reason, Endpoint.from_environment())


def _code(error: BaseException | None) -> str:
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, ClientError) else ""


def _translate(uri: str, error: BotoCoreError | ClientError) -> NightjarError | FileNotFoundError:
    code, server = _code(error), Endpoint.from_environment()
    if code in _MISSING:
        return FileNotFoundError(f"{uri}: no such file")
    if _is_transient(error):
        return StorageUnavailable(
            f"{uri}: expected an answer from {server}, found {code or type(error).__name__} after "
            f"{ATTEMPTS} tries; check AWS_ENDPOINT_URL and that the server is well, then run again"
        )
    if code:
        return ConfigError(
            f"{uri}: {server} answers {code}; "
            "check that the bucket exists and that the keys in AWS_* may use it"
        )
    if isinstance(error, _NO_KEYS):
        return ConfigError(f"{uri}: no keys for {server}; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
    return ConfigError(f"{uri}: {error}")


def _client() -> Any:
    return _client_of(os.getpid(), Endpoint.from_environment())


@cache
def _client_of(process: int, endpoint: Endpoint) -> Any:
    """The client of a process, as a fork must not share connections. It never retries: `_retry` does."""
    import boto3
    from botocore.config import Config

    config = Config(
        retries={"mode": "standard", "total_max_attempts": 1},
        s3={"addressing_style": "path"} if endpoint.url else {},
        connect_timeout=5,
        read_timeout=60,
    )
    session = boto3.session.Session()
    return session.client("s3", endpoint_url=endpoint.url or None, region_name=endpoint.region, config=config)


def make_bucket(uri: str) -> bool:
    """Make the bucket of an address, on a server of one's own; False where it exists."""
    name = address.parse(uri).bucket
    buckets = _retry(uri, lambda: _client().list_buckets())["Buckets"]
    if name in {bucket["Name"] for bucket in buckets}:
        return False
    _retry(uri, lambda: _client().create_bucket(Bucket=name))
    return True


def environment() -> dict[str, str]:
    """The variables of this process that say where the server is, and which keys it takes."""
    return {name: os.environ[name] for name in _VARIABLES if name in os.environ}


def spark_options() -> dict[str, str]:
    """How Spark's s3a reaches the server; it finds the keys in the environment.

    The committer is Hadoop's first version: a failed attempt leaves no file among the good ones.
    Of s3a's input streams, only the "classic" one reads on after a connection has ended in the middle
    of a file, and only where ranges are not read in parallel ("vectored"). Retries of the "analytics"
    stream are https://github.com/apache/hadoop/pull/7923.
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
        "fs.s3a.input.stream.type": "classic",
        "parquet.hadoop.vectored.io.enabled": "false",
        "mapreduce.fileoutputcommitter.algorithm.version": "1",
    }
    return {f"spark.hadoop.{name}": value for name, value in options.items()}
