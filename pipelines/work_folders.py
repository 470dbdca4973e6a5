"""Where intermediate files lie below the working folder: by version, then by subject."""

from importlib.metadata import version
from pathlib import Path

DATASET_WORKFLOW = "conceptrsa_wf"


def of_version(work_dir: Path) -> Path:
    """Folder of this version: what another one computed is not taken for what this one would."""
    return work_dir / version("conceptrsa")


def subject_workflow(subject: str) -> str:
    """Name of a subject's workflow; `subject` is a label without `sub-`."""
    return f"sub_{subject}_wf"


def of_subject(version_dir: Path, subject: str) -> Path:
    """Folder of a subject's steps, below what `of_version` gives."""
    return version_dir / DATASET_WORKFLOW / subject_workflow(subject)
