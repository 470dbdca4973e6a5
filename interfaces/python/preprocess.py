"""Slice timing as a nipype step."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nibabel as nib
import numpy as np
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    InputMultiObject,
    SimpleInterface,
    TraitedSpec,
    isdefined,
    traits,
)

from conceptrsa.bids_config.images import open_volume
from conceptrsa.bids_config.writing import atomic_path, empty_file
from conceptrsa.interfaces.numerics.coregistration import coregister, gather_evidence
from conceptrsa.interfaces.numerics.reslicing import realign_files
from conceptrsa.interfaces.numerics.slice_timing import SLICE_AXES, correct_slice_timing
from conceptrsa.interfaces.numerics.transforms import read_matrix, write_matrix
from conceptrsa.interfaces.programs.image_files import provide


class SliceTimingInputSpec(BaseInterfaceInputSpec):
    """Inputs of `SliceTiming`."""

    in_file = File(exists=True, mandatory=True, desc="4D run")
    slice_times = traits.List(
        traits.Float, mandatory=True, desc="acquisition time of each slice in its volume (s)"
    )
    slice_axis = traits.Enum(
        "k", *SLICE_AXES, usedefault=True, desc="axis of the slices; '-': the last slice first"
    )
    repetition_time = traits.Float(mandatory=True, desc="time between volumes (s)")
    reference_time = traits.Float(desc="moment to move all slices to (s); default TR / 2")


class SliceTimingOutputSpec(TraitedSpec):
    """Outputs of `SliceTiming`."""

    out_file = File(exists=True, desc="the run with all slices at the reference time")


class SliceTiming(SimpleInterface):
    """Move all slices of a run to one reference time by a phase shift in Fourier space."""

    input_spec = SliceTimingInputSpec
    output_spec = SliceTimingOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        in_file = Path(self.inputs.in_file)
        stem = in_file.name.removesuffix(".gz").removesuffix(".nii")
        out_file = Path(runtime.cwd) / f"{stem}_stc.nii"
        reference_time = self.inputs.reference_time
        correct_slice_timing(
            in_file,
            out_file,
            self.inputs.slice_times,
            self.inputs.slice_axis,
            self.inputs.repetition_time,
            reference_time if isdefined(reference_time) else None,
        )
        self._results["out_file"] = str(out_file)
        return runtime


class RealignInputSpec(BaseInterfaceInputSpec):
    """Inputs of `Realign`."""

    in_files = InputMultiObject(File(exists=True), mandatory=True, desc="4D runs of a subject")
    n_threads = traits.Range(
        low=1, value=1, usedefault=True, nohash=True, desc="volumes worked on at the same time"
    )
    uses_up_inputs = traits.Bool(
        False, usedefault=True, nohash=True,
        desc="leave an empty file in place of each run when it has been resliced",
    )  # fmt: skip


class RealignOutputSpec(TraitedSpec):
    """Outputs of `Realign`; its lists stay lists for a single run."""

    out_files = traits.List(File(exists=True), desc="runs resliced into the grid of mean_file")
    mean_file = File(exists=True, desc="mean of all volumes of all runs")
    motion_files = traits.List(
        File(exists=True), desc="text, volumes x 6: x y z (mm), pitch roll yaw (rad)"
    )
    valid_mask_file = File(exists=True, desc="1 where every volume of every run has data")


class Realign(SimpleInterface):
    """Realign all volumes of all runs to their mean and reslice them once."""

    input_spec = RealignInputSpec
    output_spec = RealignOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        in_files = [Path(path) for path in self.inputs.in_files]
        with TemporaryDirectory(dir=runtime.cwd) as folder:
            # Compressed runs would be held in memory, and unpacked for every pass over them.
            for number, packed in enumerate(in_files):
                if packed.suffix == ".gz":
                    in_files[number] = Path(folder, str(number), packed.stem)
                    in_files[number].parent.mkdir()
                    provide(packed, in_files[number])

            def give_up(path: Path) -> None:
                if path.is_relative_to(folder):
                    path.unlink()
                elif self.inputs.uses_up_inputs:
                    empty_file(path)

            realigned = realign_files(in_files, runtime.cwd, self.inputs.n_threads, give_up)
        self._results["out_files"] = [str(path) for path in realigned.runs]
        self._results["mean_file"] = str(realigned.mean)
        self._results["motion_files"] = [str(path) for path in realigned.motions]
        self._results["valid_mask_file"] = str(realigned.valid_mask)
        return runtime


PREPROCESSED = "fMRIPrep's, so the transform is the identity; examined here by mutual information"


class CoregisterInputSpec(BaseInterfaceInputSpec):
    """Inputs of `Coregister`."""

    source_file = File(exists=True, mandatory=True, desc="mean EPI, 3D")
    reference_file = File(exists=True, mandatory=True, desc="T1w, 3D")


class CoregisterOutputSpec(TraitedSpec):
    """Outputs of `Coregister`."""

    transform_file = File(exists=True, desc="4x4 matrix, EPI world to T1w world, RAS mm")
    report_file = File(exists=True, desc="JSON: the evidence for the result, and warnings")


class Coregister(SimpleInterface):
    """Find the rigid motion of the mean EPI to the T1w; neither image is resampled."""

    input_spec = CoregisterInputSpec
    output_spec = CoregisterOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        result = coregister(
            nib.load(self.inputs.source_file), open_volume(self.inputs.reference_file)
        )
        transform = Path(runtime.cwd) / "bold_to_t1w.txt"
        report = Path(runtime.cwd) / "coregistration.json"
        write_matrix(transform, result.matrix)
        _write_report(report, result.report())
        self._results["transform_file"] = str(transform)
        self._results["report_file"] = str(report)
        return runtime


class CheckCoregistrationInputSpec(BaseInterfaceInputSpec):
    """Inputs of `CheckCoregistration`."""

    source_file = File(exists=True, mandatory=True, desc="mean EPI, 3D")
    mask_file = File(exists=True, mandatory=True, desc="1 where the EPI has data, in its grid")
    reference_file = File(exists=True, mandatory=True, desc="T1w, 3D")
    transform_file = File(exists=True, mandatory=True, desc="EPI world to T1w world, RAS mm")


class CheckCoregistrationOutputSpec(TraitedSpec):
    """Outputs of `CheckCoregistration`."""

    report_file = File(exists=True, desc="JSON: the evidence for the transform, and warnings")


class CheckCoregistration(SimpleInterface):
    """Tell whether EPI and T1w lie where fMRIPrep put them; a doubt is a warning.

    Nothing is refused: fMRIPrep registers by the border of white matter, which may well succeed
    where the searches that give the evidence here do not.
    """

    input_spec = CheckCoregistrationInputSpec
    output_spec = CheckCoregistrationOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        inputs = self.inputs
        source: Any = nib.load(inputs.source_file)
        has_data = np.asarray(nib.load(inputs.mask_file).dataobj) > 0
        mean = np.where(has_data, np.asarray(source.dataobj, dtype=np.float32), np.nan)
        found = gather_evidence(
            nib.Nifti1Image(mean, source.affine),
            open_volume(inputs.reference_file),
            read_matrix(inputs.transform_file),
            PREPROCESSED,
        )
        content = found.report()
        if found.failures:
            content["warnings"] = [
                "the mean EPI does not seem to lie on the T1w image where fMRIPrep put it "
                f"({'; '.join(found.failures)}): look at both"
            ]
        report = Path(runtime.cwd) / "coregistration.json"
        _write_report(report, content)
        self._results["report_file"] = str(report)
        return runtime


def _write_report(file: Path, content: dict[str, object]) -> None:
    with atomic_path(file) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n")
