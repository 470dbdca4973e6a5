"""Motion parameters as a BIDS confounds table, with framewise displacement."""

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pandas as pd
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    SimpleInterface,
    TraitedSpec,
)

from conceptrsa.bids_config.tsv import write_table

HEAD_RADIUS_MM = 50.0


def framewise_displacement(motion: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Sum of the absolute changes of the six motion parameters from volume to volume.

    Rotations count as the arc they make on a sphere of 50 mm radius (Power et al., 2012,
    NeuroImage 59:2142, "FD").

    Parameters
    ----------
    motion : array, shape (volumes, 6)
        Three translations (mm) and three rotations (rad).

    Returns
    -------
    array, shape (volumes,)
        In mm; NaN for the first volume, which has none before it.
    """
    in_mm = motion * np.array([1.0, 1.0, 1.0, HEAD_RADIUS_MM, HEAD_RADIUS_MM, HEAD_RADIUS_MM])
    displacement = np.abs(np.diff(in_mm, axis=0)).sum(axis=1)
    return np.concatenate([[np.nan], displacement])


class ConfoundsTableInputSpec(BaseInterfaceInputSpec):
    """Inputs of `ConfoundsTable`."""

    motion_file = File(exists=True, mandatory=True, desc="six columns: mm, mm, mm, rad, rad, rad")


class ConfoundsTableOutputSpec(TraitedSpec):
    """Outputs of `ConfoundsTable`."""

    out_file = File(exists=True, desc="TSV with fMRIPrep's column names")


class ConfoundsTable(SimpleInterface):
    """Write the motion parameters of a run with fMRIPrep's column names."""

    input_spec = ConfoundsTableInputSpec
    output_spec = ConfoundsTableOutputSpec
    columns: ClassVar[dict[str, dict[str, str]]] = {
        **{f"trans_{axis}": {"Units": "mm"} for axis in "xyz"},
        **{f"rot_{axis}": {"Units": "rad"} for axis in "xyz"},
        "framewise_displacement": {
            "Units": "mm",
            "Description": "Power et al. (2012), rotations on a sphere of 50 mm radius",
        },
    }

    def _run_interface(self, runtime: Any) -> Any:
        motion = np.loadtxt(self.inputs.motion_file, ndmin=2)
        values = np.column_stack([motion, framewise_displacement(motion)])
        table = pd.DataFrame(values, columns=list(self.columns))
        out_file = Path(runtime.cwd) / "confounds.tsv"
        write_table(out_file, table, float_format="%.6f")
        self._results["out_file"] = str(out_file)
        return runtime
