"""Keep a copy of the reader as it is now: ``.venv/bin/python tests/frozen_readers/freeze.py v1``."""

import hashlib
import shutil
import sys
from pathlib import Path

HERE = Path(__file__).parent
READER = HERE.parents[1] / "nightjar_reader"


def freeze(version: str) -> Path:
    """Copy the package under a name of its own, beside a list of what the copy holds."""
    package = f"{READER.name}_{version}"
    folder = HERE / package
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for source in sorted(READER.glob("*.py")):
        text = source.read_text(encoding="utf-8").replace(READER.name, package)
        (folder / source.name).write_text(text, encoding="utf-8")
    (HERE / f"{package}.sha256").write_text(digests(folder), encoding="utf-8")
    return folder


def digests(folder: Path) -> str:
    """A line for every module of a frozen reader, as ``sha256sum`` writes it."""
    files = sorted(folder.glob("*.py"))
    return "".join(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files)


if __name__ == "__main__":
    freeze(sys.argv[1])
