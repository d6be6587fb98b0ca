#!/bin/sh
# Build .venv from the lock. Everything that could be missing is checked before anything is downloaded.
set -eu
UV_VERSION=0.13.9
export UV_PYTHON_DOWNLOADS=never

fail() {
    printf 'Nightjar cannot be installed: %s\n' "$1" >&2
    exit 1
}

version_of() {
    "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || true
}

find_python() {
    seen=""
    for candidate in ${PYTHON:-python3.12 python3.13 python3.11 python3 python}; do
        version=$(version_of "$candidate")
        case "$version" in
        3.11 | 3.12 | 3.13)
            python=$candidate
            return
            ;;
        "") ;;
        *) seen="$seen $candidate is $version;" ;;
        esac
    done
    fail "it needs Python 3.11, 3.12 or 3.13;${seen:- none was found;} install one (Debian 12: sudo apt-get install python3 python3-venv python3-dev) or name it: make PYTHON=/path/to/python3.12 ..."
}

check_tools() {
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
        fail "$python ($version) has no venv module; install it: sudo apt-get install python$version-venv"
    header=$("$python" -c 'import os, sysconfig; print(os.path.join(sysconfig.get_paths()["include"], "Python.h"))')
    [ -f "$header" ] ||
        fail "the headers of $python ($version) are missing ($header), and annoy is compiled here; install them: sudo apt-get install python$version-dev"
    command -v g++ >/dev/null 2>&1 ||
        fail "there is no g++, and annoy is compiled here; install it: sudo apt-get install g++"
}

find_python
check_tools
if [ -x .venv/bin/python ]; then
    printf 'Bringing .venv up to the lock\n'
else
    printf 'Installing Nightjar into .venv with %s (%s)\n' "$python" "$version"
    "$python" -m venv .venv
fi
echo 'This downloads about 1 GB the first time and takes a minute or a few; compiling Annoy is part of it'
.venv/bin/python -m pip install --quiet --disable-pip-version-check "uv==$UV_VERSION"
# Annoy anew, since one that was built with other flags may be there. Ours, in pyproject.toml, are of x86-64.
[ "$(uname -m)" = x86_64 ] || export UV_NO_CONFIG=1
.venv/bin/uv pip install --quiet --python .venv/bin/python --reinstall-package annoy --requirement requirements.txt
.venv/bin/uv pip install --quiet --python .venv/bin/python --no-deps --editable .
# Else each process compiles what it imports where PYTHONDONTWRITEBYTECODE is set, for 10 s in some tasks.
.venv/bin/python -m compileall -qq -j 0 .venv/lib || true # what is for another Python stays as it is
# Else the first night compiles them, for about 16 CPU-seconds.
.venv/bin/nightjar prepare kernels || echo 'The kernels are not compiled: the first night does that'
# Else each job of Spark reads its classes anew, for 5 CPU-seconds.
.venv/bin/nightjar prepare classes || echo 'Java keeps no classes: each job of Spark takes some seconds longer'
touch .venv/.ready
