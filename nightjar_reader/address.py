"""Addresses of folders: which texts are one, and why others are refused."""

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from nightjar_reader.errors import ReaderError

EXPECTED = "expected a folder, file:///folder or s3://bucket/prefix"
BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
"""The names that AWS, and servers that follow it, accept for a bucket."""


@dataclass(frozen=True)
class Address:
    """Where files lie.

    Attributes
    ----------
    bucket
        Empty for a folder of this machine.
    path
        The prefix in the bucket, without slashes at its ends; else the absolute path of the folder.
    """

    bucket: str
    path: str

    @property
    def uri(self) -> str:
        """The one spelling of the address, without a slash at its end."""
        if not self.bucket:
            return Path(self.path).as_uri()
        return "/".join(filter(None, (f"s3://{self.bucket}", self.path)))


def parse(text: str) -> Address:
    """Read an address.

    Parameters
    ----------
    text
        The path of a folder, ``file:///folder`` or ``s3://bucket/prefix``.

    Raises
    ------
    ReaderError
        When the text is none of these, or is ambiguous; the message says what is wrong with it.
    """
    problem = _problem(text)
    if problem:
        raise ReaderError(f"{EXPECTED}, found {redacted(text)!r}: {problem}")
    parts = urlsplit(text)
    if parts.scheme == "s3":
        return Address(parts.netloc, parts.path.strip("/"))
    return Address("", Path(unquote(parts.path) if parts.scheme else text).absolute().as_posix())


def redacted(text: str) -> str:
    """The address with stars for what stands before an @, such as a password."""
    scheme, slashes, rest = text.partition("://")
    return f"{scheme}://***@{rest.rpartition('@')[2]}" if slashes and "@" in rest else text


def _problem(text: str) -> str:
    """What is wrong with an address; empty if it is right."""
    if not text.strip():
        return "it is empty"
    if text != text.strip() or not unquote(text).isprintable():
        return "it has blanks at its ends, or characters that cannot be seen"
    if sign := next((sign for sign in "?#\\" if sign in text), ""):
        return f"it has a {sign}"
    if text.startswith("~"):
        return "~ is known to shells alone"
    if ".." in unquote(text).split("/"):
        return "it leads upwards by .."
    return _problem_of_place(text)


def _problem_of_place(text: str) -> str:
    try:
        parts = urlsplit(text)
    except ValueError as error:
        return str(error)
    if parts.scheme not in ("", "file", "s3"):
        return f"cannot read {parts.scheme}://"
    if parts.scheme == "s3":
        return _problem_of_bucket(parts.netloc, parts.path)
    if parts.scheme and parts.netloc:
        return f"file:// is followed by {parts.netloc!r}, which would be a host; a folder takes three slashes"
    if parts.scheme and not parts.path.startswith("/"):
        return "the folder of a file: address is absolute"
    return ""


def _problem_of_bucket(bucket: str, prefix: str) -> str:
    if not bucket:
        return "it has no bucket"
    if not BUCKET.fullmatch(bucket):
        return "a bucket has 3 to 63 small letters, digits, dots and dashes"
    return "its prefix has an empty part" if "//" in prefix else ""
