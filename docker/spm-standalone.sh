#!/bin/sh
# Usage: spm-standalone RUNTIME_FOLDER ARGUMENT ..., as SPM's own run_spm*.sh, which not every
# release carries. It replaces itself by SPM, so that signals and the exit code pass through.
set -eu

if [ "$#" -lt 1 ] || [ ! -d "$1/runtime/glnxa64" ]; then
    echo "spm-standalone: '${1:-}' is no folder of a MATLAB Runtime" >&2
    exit 2
fi
runtime=$1
shift

LD_LIBRARY_PATH=
for folder in runtime/glnxa64 bin/glnxa64 sys/os/glnxa64 sys/opengl/lib/glnxa64 extern/bin/glnxa64; do
    LD_LIBRARY_PATH=${LD_LIBRARY_PATH:+${LD_LIBRARY_PATH}:}${runtime}/${folder}
done
export LD_LIBRARY_PATH

exec "${SPM_STANDALONE:?is not set to the program of SPM}" "$@"
