"""The examples in docstrings of the reader give what they say, on the release of these tests."""

import doctest

from nightjar_reader import reader


def test_of_docstrings(build):
    tiny = build("int64")
    tiny.append(1)
    result = doctest.testmod(reader, extraglobs={"releases_uri": tiny.uri})
    assert result.attempted > 3
    assert result.failed == 0
