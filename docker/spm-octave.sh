#!/bin/sh
# Usage: spm-octave script FILE, as standalone SPM: runs FILE with SPM12 on the path of GNU Octave.
set -eu

if [ "$#" -ne 2 ] || [ "$1" != script ]; then
    echo "usage: spm-octave script FILE.m" >&2
    exit 2
fi
spm=${SPM_OCTAVE:-/opt/spm12}
if [ ! -f "${spm}/spm.m" ]; then
    echo "spm-octave: there is no SPM12 at ${spm}: mount one, compiled for this Octave, to it" >&2
    exit 2
fi

CONCEPTRSA_SPM=${spm} CONCEPTRSA_SCRIPT=$2 exec octave-cli --no-init-file --no-window-system --quiet --eval '
addpath(getenv("CONCEPTRSA_SPM"));
spm("defaults", "fmri");
spm_jobman("initcfg");
run(getenv("CONCEPTRSA_SCRIPT"));
'
