"""Copying a node's result into the BIDS derivatives folder under its final name."""

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
from nipype.interfaces.base import Directory, traits

from conceptrsa.bids_config.writing import atomic_path, write_json
from conceptrsa.interfaces.python.step import Step, file_in, file_out, files_out, optional_file


class SaveDerivative(Step):
    """Save a file under its BIDS derivative name, whole or not at all; its sidecar last.

    Images (`.nii`) are compressed and stored as float32 where they are floating point; tables and
    matrices are copied.
    """

    in_file = file_in("image, matrix or table to save")
    base_dir = Directory(mandatory=True, desc="root of the derivatives data set")
    name = traits.Str(mandatory=True, desc="path below base_dir, with its extension")
    table_file = optional_file("TSV saved beside the image under the same name")
    metadata = traits.Dict(desc="content of the JSON sidecar; no sidecar where it is absent")
    report_file = optional_file("JSON with an object that is added to the sidecar")

    out_file = file_out("the saved file", exists=False)
    beside_files = files_out("its table and its sidecar", exists=False)

    def _run_in(self, folder: Path) -> dict[str, Path | list[Path]]:
        target = Path(self.inputs.base_dir) / self.inputs.name
        stem = target.name.split(".")[0]
        sidecar = target.parent / f"{stem}.json"
        beside = []
        # Written last, so that a sidecar that is there belongs to the file beside it.
        sidecar.unlink(missing_ok=True)
        if target.name.endswith(".nii.gz"):
            save_compressed(Path(self.inputs.in_file), target)
        else:
            copy_file(Path(self.inputs.in_file), target)
        if self.inputs.table_file:
            beside.append(target.parent / f"{stem}.tsv")
            copy_file(Path(self.inputs.table_file), beside[-1])
        if self.inputs.metadata:
            beside.append(sidecar)
            content = dict(self.inputs.metadata)
            if self.inputs.report_file:
                content |= json.loads(Path(self.inputs.report_file).read_text())
            write_json(sidecar, content)
        return {"out_file": target, "beside_files": beside}


def copy_file(source: Path, target: Path) -> None:
    """Copy a file so that `target` is either the old or the whole new one."""
    with atomic_path(target) as temporary:
        shutil.copyfile(source, temporary)


def save_compressed(source: Path, target: Path) -> None:
    """Write an image as `.nii.gz`: integers as they are, floating point as float32."""
    image = nib.load(source)
    data = np.asanyarray(image.dataobj)
    if np.issubdtype(data.dtype, np.floating):
        data = data.astype(np.float32)
    compressed = nib.Nifti1Image(data, image.affine, image.header)
    compressed.set_data_dtype(data.dtype)
    compressed.header.set_slope_inter(1, 0)
    compressed.header.set_xyzt_units("mm")
    with atomic_path(target) as temporary:
        nib.save(compressed, temporary)
