"""A release as a local folder: its files, and the manifest that says what they are."""

from dataclasses import replace
from pathlib import Path

from lake.files import sha256_of
from nightjar_reader import format as fmt


def seal(folder: Path, manifest: fmt.Manifest) -> bytes:
    """Write the manifest with all files in a folder, and return its bytes."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != fmt.MANIFEST)
    files = {
        path.relative_to(folder).as_posix(): fmt.FileEntry(path.stat().st_size, sha256_of(path))
        for path in paths
    }
    content = fmt.canonical(replace(manifest, files=files))
    (folder / fmt.MANIFEST).write_bytes(content)
    return content
