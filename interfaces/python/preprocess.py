"""Slice timing, realignment and coregistration by the embedded engine as nipype steps."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nibabel as nib
import numpy as np
from nipype.interfaces.base import isdefined, traits

from conceptrsa.bids_config.images import open_volume
from conceptrsa.bids_config.writing import empty_file, write_json
from conceptrsa.interfaces.numerics.coregistration import coregister, gather_evidence
from conceptrsa.interfaces.numerics.reslicing import realign_files
from conceptrsa.interfaces.numerics.slice_timing import SLICE_AXES, correct_slice_timing
from conceptrsa.interfaces.numerics.time_series import image_stem
from conceptrsa.interfaces.numerics.transforms import read_matrix
from conceptrsa.interfaces.programs import provide
from conceptrsa.interfaces.python.step import (
    Step,
    file_in,
    file_out,
    files_in,
    files_out,
    write_transform,
)


class SliceTiming(Step):
    """Move all slices of a run to one reference time by a phase shift in Fourier space."""

    in_file = file_in("4D run")
    slice_times = traits.List(
        traits.Float, mandatory=True, desc="acquisition time of each slice in its volume (s)"
    )
    slice_axis = traits.Enum(
        "k", *SLICE_AXES, usedefault=True, desc="axis of the slices; '-': the last slice first"
    )
    repetition_time = traits.Float(mandatory=True, desc="time between volumes (s)")
    reference_time = traits.Float(desc="moment to move all slices to (s); default TR / 2")

    out_file = file_out("the run with all slices at the reference time")

    def _run_in(self, folder: Path) -> dict[str, Path]:
        in_file, reference_time = Path(self.inputs.in_file), self.inputs.reference_time
        out_file = folder / f"{image_stem(in_file)}_stc.nii"
        correct_slice_timing(
            in_file,
            out_file,
            self.inputs.slice_times,
            self.inputs.slice_axis,
            self.inputs.repetition_time,
            reference_time if isdefined(reference_time) else None,
        )
        return {"out_file": out_file}


class Realign(Step):
    """Realign all volumes of all runs to their mean and reslice them once."""

    in_files = files_in("4D runs of a subject")
    n_threads = traits.Range(
        low=1, value=1, usedefault=True, nohash=True, desc="volumes worked on at the same time"
    )
    uses_up_inputs = traits.Bool(
        False, usedefault=True, nohash=True,
        desc="leave an empty file in place of each run when it has been resliced",
    )  # fmt: skip

    out_files = files_out("runs resliced into the grid of mean_file")
    mean_file = file_out("mean of all volumes of all runs")
    motion_files = files_out("text, volumes x 6: x y z (mm), pitch roll yaw (rad)")
    valid_mask_file = file_out("1 where every volume of every run has data")

    def _run_in(self, folder: Path) -> dict[str, Path | list[Path]]:
        in_files = [Path(path) for path in self.inputs.in_files]
        with TemporaryDirectory(dir=folder) as temporary:
            # Compressed runs would be held in memory, and unpacked for every pass over them.
            for number, packed in enumerate(in_files):
                if packed.suffix == ".gz":
                    in_files[number] = Path(temporary, str(number), packed.stem)
                    in_files[number].parent.mkdir()
                    provide(packed, in_files[number])

            def give_up(path: Path) -> None:
                if path.is_relative_to(temporary):
                    path.unlink()
                elif self.inputs.uses_up_inputs:
                    empty_file(path)

            realigned = realign_files(in_files, folder, self.inputs.n_threads, give_up)
        return {
            "out_files": list(realigned.runs),
            "mean_file": realigned.mean,
            "motion_files": list(realigned.motions),
            "valid_mask_file": realigned.valid_mask,
        }


PREPROCESSED = "fMRIPrep's, so the transform is the identity; examined here by mutual information"


class Coregister(Step):
    """Find the rigid motion of the mean EPI to the T1w; neither image is resampled."""

    source_file = file_in("mean EPI, 3D")
    reference_file = file_in("T1w, 3D")

    transform_file = file_out("4x4 matrix, EPI world to T1w world, RAS mm")
    report_file = file_out("JSON: the evidence for the result, and warnings")

    def _run_in(self, folder: Path) -> dict[str, Path]:
        result = coregister(
            nib.load(self.inputs.source_file), open_volume(self.inputs.reference_file)
        )
        return write_transform(folder, "bold_to_t1w", result.matrix, result.report())


class CheckCoregistration(Step):
    """Tell whether EPI and T1w lie where fMRIPrep put them; a doubt is a warning.

    Nothing is refused: fMRIPrep registers by the border of white matter, which may well succeed
    where the searches that give the evidence here do not.
    """

    source_file = file_in("mean EPI, 3D")
    mask_file = file_in("1 where the EPI has data, in its grid")
    reference_file = file_in("T1w, 3D")
    transform_file = file_in("EPI world to T1w world, RAS mm")

    report_file = file_out("JSON: the evidence for the transform, and warnings")

    def _run_in(self, folder: Path) -> dict[str, Path]:
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
                "the mean EPI and the T1w image do not seem to be aligned as fMRIPrep left them "
                f"({'; '.join(found.failures)}): look at both"
            ]
        write_json(folder / "bold_to_t1w.json", content)
        return {"report_file": folder / "bold_to_t1w.json"}
