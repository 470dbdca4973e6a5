"""The four FreeSurfer programs: nipype's interfaces as generators of their command lines."""

from nipype.interfaces import freesurfer

from interfaces.freesurfer.command import FreeSurferJob


class HeaderRegistrationJob(FreeSurferJob, freesurfer.Tkregister2):
    """`tkregister2 --regheader --noedit`, which only calculates."""


class BoundaryRegistrationJob(FreeSurferJob, freesurfer.BBRegister):
    """`bbregister`."""


class ResamplingJob(FreeSurferJob, freesurfer.ApplyVolTransform):
    """`mri_vol2vol`."""


class ReconstructionJob(FreeSurferJob, freesurfer.ReconAll):
    """`recon-all`, the whole of it.

    nipype's own way of going on leaves out every step whose outputs exist, though one that was
    killed may have left half of one, and drops the input image as soon as there is an `mri`
    folder.
    """

    def _is_resuming(self) -> bool:
        return False
