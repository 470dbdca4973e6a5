"""A stand-in for SPM's launcher, for the ways in which SPM fails; it proves nothing about SPM.

python fake_launcher.py BEHAVIOUR script FILE.m
"""

import os
import re
import signal
import sys
import time
from pathlib import Path

MODULES = {
    "temporal.st": "Slice Timing",
    "spatial.realign": "Realign: Estimate & Reslice",
    "spatial.coreg": "Coregister: Estimate",
    "stats.fmri_spec": "fMRI model specification",
    "stats.fmri_est": "Model estimation",
}
TIME = "24-Nov-2026 12:00:00"


def main() -> int:
    behaviour, _, script = sys.argv[1:]
    behaviour, _, only_in = behaviour.partition(" @ ")
    text = Path(script).read_text()
    found = re.search(r"jobs\{1\}\.spm\.(\w+\.\w+)\.", text)
    module = MODULES[found.group(1)] if found else None
    print("SPM12, version 7771\nconceptrsa: SPM12 release 7771", flush=True)
    if module is None:  # the question for the version
        print("conceptrsa: script finished")
        return 0
    print(f"{TIME} - Running '{module}'", flush=True)
    if only_in and module != only_in:
        folder = re.search(r"fmri_spec\.dir = \{\.\.\.\n'(.*)';", text)
        Path(str(folder.group(1)), "SPM.mat").write_text("specified")
        behaviour = "says it was done"
    done = f"{TIME} - Done    '{module}'\n{TIME} - Done\n"
    if behaviour == "crashes":
        print("Segmentation violation detected", flush=True)
        return 11
    if behaviour == "is killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if behaviour == "crashes by a signal":
        return 128 + signal.SIGSEGV
    if behaviour == "is killed below a shell":
        return 128 + signal.SIGKILL
    if behaviour == "skips":
        print(f"{TIME} - Skipped '{module}'\n{done}conceptrsa: script finished")
    if behaviour == "raises":
        print(
            f"{TIME} - Failed  '{module}'\nError using spm_thing\nThe images do not overlap.\n"
            'In file "/opt/spm12/spm_thing.m" (v1), function "spm_thing" at line 7.\n'
            f"{TIME} - Job failed\n"
            "conceptrsa: SPM stopped with an error: Job execution failed.\n"
        )
        return 1
    if behaviour == "raises and hides it":
        print(f"{TIME} - Failed  '{module}'\nError using spm_thing\nThe images do not overlap.")
    if behaviour == "hangs":
        time.sleep(600)
    if behaviour == "says it was done":
        print(f"{done}conceptrsa: script finished")
    if behaviour == "stops before the end":
        print(done)
    return 0


if __name__ == "__main__":
    sys.exit(main())
