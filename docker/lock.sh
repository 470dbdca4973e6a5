#!/bin/sh
# Makes requirements.txt and requirements-networks.txt anew: every package of the image with its
# version and the SHA-256 of its files. Needs uv (pip install uv); arguments are passed on to it,
# such as --upgrade. The second file holds what the networks need beyond the first.
set -eu
cd "$(dirname "$0")"

lock() {
    output=$1
    shift
    uv pip compile ../pyproject.toml - --extra fast --extra bids --quiet --no-header --no-annotate \
        --generate-hashes --python-version 3.11 --python-platform x86_64-manylinux_2_28 \
        --output-file "${output}" "$@"
}

echo 'setuptools>=77' | lock requirements.txt "$@"

# deepbet asks for a window toolkit, which its network does not need.
all=$(mktemp)
trap 'rm -f "${all}"' EXIT
cat requirements.txt requirements-networks.txt > "${all}"
printf 'setuptools>=77\ndeepbet>=1.0.2\n' | lock "${all}" --extra networks \
    --constraint requirements.txt --torch-backend cpu \
    --no-emit-package customtkinter --no-emit-package darkdetect "$@"
awk 'NR == FNR { if (/==/) first[$1]; next } /==/ { keep = !($1 in first) } keep' \
    requirements.txt "${all}" > requirements-networks.txt
