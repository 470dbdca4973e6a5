#!/bin/bash
# Usage: download URL FILE [SHA256]
set -euo pipefail

curl --fail --silent --show-error --location --retry 5 --retry-all-errors --output "$2" "$1"

# Printed even where none was asked for, so that the next build can be given it.
checksum=$(sha256sum "$2" | cut --delimiter=' ' --fields=1)
echo "$1 has SHA-256 ${checksum}"
if [[ -n "${3:-}" && "${3,,}" != "${checksum}" ]]; then
    echo "$1 should have SHA-256 $3: it was changed or damaged on its way" >&2
    exit 1
fi
