"""What is an address of a folder, and what is refused."""

from pathlib import Path

import pytest

from lake.errors import ConfigError
from lake.storage import open_storage
from nightjar_reader import Reader, address
from nightjar_reader.errors import ReaderError

REFUSED = {
    "": "it is empty",
    "  ": "it is empty",
    "file://rel": "'rel', which would be a host",
    "file://host/x": "'host', which would be a host",
    "file://localhost/x": "'localhost', which would be a host",
    "file:rel": "is absolute",
    "file:": "is absolute",
    "s3://": "it has no bucket",
    "s3:///x": "it has no bucket",
    "s3:x": "it has no bucket",
    "s3://BAD_BUCKET": "a bucket has",
    "s3://ab": "a bucket has",
    "s3://bucket:9000/x": "a bucket has",
    "s3://-bucket": "a bucket has",
    "s3://bucket//x": "an empty part",
    "s3a://bucket/x": "cannot read s3a://",
    "gs://bucket/x": "cannot read gs://",
    "http://host/x": "cannot read http://",
    "ftp://host/x": "cannot read ftp://",
    "hdfs:///x": "cannot read hdfs://",
    "s3://bucket/x?versionId=1": "it has a ?",
    "file:///x#y": "it has a #",
    "/x?y": "it has a ?",
    "C:\\lake": "it has a \\",
    "~/lake": "~ is known to shells alone",
    "~": "~ is known to shells alone",
    "../lake": "it leads upwards",
    "/a/../lake": "it leads upwards",
    "file:///a/%2e%2e/b": "it leads upwards",
    "s3://bucket/a/../b": "it leads upwards",
    " /lake": "blanks at its ends",
    "/lake\n": "blanks at its ends",
    "/la\0ke": "cannot be seen",
    "file:///la%00ke": "cannot be seen",
    "http://[::1": "Invalid IPv6",
}


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_no_address_is_refused_by_name(text):
    """Some read the current folder, others ended in a trace."""
    for opened in (Reader, open_storage):
        with pytest.raises((ReaderError, ConfigError)) as raised:
            opened(text)
        said = str(raised.value)
        assert said.startswith(f"expected a folder, file:///folder or s3://bucket/prefix, found {text!r}: ")
        assert REFUSED[text] in said


@pytest.mark.parametrize(
    ("text", "uri"),
    [
        ("/a b/c%d", "file:///a%20b/c%25d"),
        ("/a/b/", "file:///a/b"),
        ("file:///a%20b/", "file:///a%20b"),
        ("file:/a", "file:///a"),
        ("FILE:///a", "file:///a"),
        ("s3://bucket", "s3://bucket"),
        ("s3://bucket/", "s3://bucket"),
        ("S3://my.bucket-1/a/b c/", "s3://my.bucket-1/a/b c"),
        ("/möwe", "file:///m%C3%B6we"),
    ],
)
def test_an_address_has_one_spelling(text, uri):
    found = address.parse(text)
    assert found.uri == uri
    assert address.parse(uri) == found


def test_a_relative_folder_is_one_of_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert address.parse("lake").path == (Path.cwd() / "lake").as_posix()


def test_a_secret_is_not_told():
    with pytest.raises(ReaderError, match=r"s3://\*\*\*@bucket") as raised:
        address.parse("s3://key:secret@bucket")
    assert "secret" not in str(raised.value)
