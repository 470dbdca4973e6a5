"""One model of concatenated runs as a nipype step."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from nipype.interfaces.base import File, SimpleInterface, TraitedSpec, traits

from conceptrsa.bids_config.errors import StepError
from conceptrsa.bids_config.tsv import write_table
from conceptrsa.interfaces.numerics.design import column_name
from conceptrsa.interfaces.programs.image_files import remove_all
from conceptrsa.interfaces.python.estimate import read_events_table
from conceptrsa.interfaces.spm import model as spm_model
from conceptrsa.interfaces.spm.first_level import (
    SpmModelInputSpec,
    columns_of,
    estimate,
    read_runs,
    stack_betas,
    write_designs,
)
from conceptrsa.interfaces.spm.model import EstimatedModel, Run
from conceptrsa.interfaces.spm.spm_files import WORKPLACE, workplace

SPLITS = {"all": slice(None), "odd": slice(0, None, 2), "even": slice(1, None, 2)}


class SpmConcatenatedBetasInputSpec(SpmModelInputSpec):
    """Inputs of `SpmConcatenatedBetas`."""

    split = traits.Enum(*SPLITS, usedefault=True, desc="runs: all, 1st 3rd ..., or 2nd 4th ...")


class SpmConcatenatedBetasOutputSpec(TraitedSpec):
    """Outputs of `SpmConcatenatedBetas`."""

    betas_file = File(exists=True, desc="4D float32, a volume a stimulus by id, NaN without data")
    stimuli_file = File(
        exists=True, desc="TSV: volume (from 0), stimulus, n_runs, n_runs_odd, n_runs_even"
    )
    design_matrices = traits.List(File(exists=True), desc="TSV a run")
    spm_mat_file = File(desc="SPM.mat, estimated; not there for a split without runs")


class SpmConcatenatedBetas(SimpleInterface):
    """Estimate one model of concatenated runs, a regressor a condition over all of them.

    Its betas stay beside `SPM.mat` under the paper's numbers: 1 fixation, 2 one-back, 3 and on the
    images (an implicit baseline has no fixation, and one number less).
    """

    input_spec = SpmConcatenatedBetasInputSpec
    output_spec = SpmConcatenatedBetasOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        folder, inputs = Path(runtime.cwd), self.inputs
        stimuli = stimuli_table([read_events_table(file) for file in inputs.events_files])
        write_table(folder / "stimuli.tsv", stimuli)
        designs: list[str] = []
        with workplace(folder) as plain:
            every_run = read_runs(inputs, plain)
            runs = every_run[SPLITS[inputs.split]]
            if runs:
                columns, designs = self._estimate(plain, folder, runs, list(stimuli["stimulus"]))
                self._results["spm_mat_file"] = str(folder / WORKPLACE / "SPM.mat")
            else:
                columns = [None] * len(stimuli)
            stack_betas(plain, columns, folder / "betas.nii", inputs.mask_file)
            remove_all([run.scans for run in every_run])
        self._results["betas_file"] = str(folder / "betas.nii")
        self._results["stimuli_file"] = str(folder / "stimuli.tsv")
        self._results["design_matrices"] = [str(folder / name) for name in designs]
        return runtime

    def _estimate(
        self, plain: Path, folder: Path, runs: Sequence[Run], stimuli: Sequence[str]
    ) -> tuple[list[int | None], list[str]]:
        """Estimate; give the design column of each stimulus, and the names of design tables."""
        model, of_condition = estimate_concatenated(self.inputs, plain, runs)
        return (
            [of_condition.get(column_name(name, "stimulus")) for name in stimuli],
            write_designs(model, [run.n_volumes for run in runs], folder, one_session=True),
        )


def estimate_concatenated(
    inputs: Any, plain: Path, runs: Sequence[Run], residuals: bool = False
) -> tuple[EstimatedModel, dict[str, int]]:
    """Estimate one model of concatenated runs.

    Parameters
    ----------
    inputs : traits
        Of `SpmModelInputSpec`.
    plain : Path
        Where SPM works; the betas of the conditions are left there.
    runs : sequence of Run
    residuals : bool
        Whether SPM writes its residuals as well.

    Returns
    -------
    EstimatedModel
    dict
        Design column (counted from 0) of each condition, by its column name.
    """
    events = spm_model.concatenated(runs, inputs.repetition_times[0])
    conditions = spm_model.conditions_of(events, inputs.baseline)
    regressors = plain / "motion.mat"
    spm_model.write_motion_regressors(regressors, runs)
    spm_model.write_events_by_run(plain / "events.mat", runs, conditions, inputs.baseline)
    session = spm_model.session_info(
        [run.scans for run in runs], conditions, regressors, inputs.high_pass_seconds
    )
    n_volumes = [run.n_volumes for run in runs]
    statements = spm_model.concatenation(plain / "SPM.mat", plain / "events.mat", n_volumes)
    model = estimate(
        inputs, plain, [session], statements, n_residuals=sum(n_volumes) if residuals else 0
    )
    numbers = columns_of(model, 1, conditions)
    of_condition = {c.column: number for c, number in zip(conditions, numbers, strict=True)}
    nuisance = range(len(conditions), len(model.names))
    remove_all([plain / f"beta_{column + 1:04d}.nii" for column in nuisance])
    return model, of_condition


def stimuli_table(events: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Volumes of the pooled betas: stimuli by id, and in how many runs each was shown."""
    shown = [set(table.loc[table["kind"] == "stimulus", "condition"]) for table in events]
    stimuli = sorted(set().union(*shown))
    if not stimuli:
        raise StepError("No run has a stimulus: check the events of this subject.")
    counts = {
        name: [sum(stimulus in run for run in part) for stimulus in stimuli]
        for name, part in (
            ("n_runs", shown), ("n_runs_odd", shown[0::2]), ("n_runs_even", shown[1::2])
        )
    }  # fmt: skip
    return pd.DataFrame({"volume": range(len(stimuli)), "stimulus": stimuli, **counts})
