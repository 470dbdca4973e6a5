"""One model with an SPM session a run, as a nipype step."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nipype.interfaces.base import File, SimpleInterface, TraitedSpec, traits

from conceptrsa.bids_config.tsv import write_table
from conceptrsa.interfaces.programs.image_files import remove_all
from conceptrsa.interfaces.python.estimate import conditions_table
from conceptrsa.interfaces.spm import model as spm_model
from conceptrsa.interfaces.spm.first_level import (
    SpmModelInputSpec,
    columns_of,
    estimate,
    read_runs,
    stack_betas,
    write_designs,
)
from conceptrsa.interfaces.spm.model import Condition, EstimatedModel
from conceptrsa.interfaces.spm.spm_files import WORKPLACE, workplace


class SpmSessionBetasOutputSpec(TraitedSpec):
    """Outputs of `SpmSessionBetas`, lists in the order of the runs."""

    betas_files = traits.List(File(exists=True), desc="4D, a volume a condition")
    conditions_files = traits.List(File(exists=True), desc="TSV: volume, condition, kind, n_events")
    information_files = traits.List(File(exists=True), desc="information of each session's design")
    design_matrices = traits.List(File(exists=True), desc="TSV a run")
    spm_mat_file = File(exists=True, desc="SPM.mat, estimated")


class SpmSessionBetas(SimpleInterface):
    """Estimate one model with a session a run (`spm_fmri_spm_ui`, `spm_spm`)."""

    input_spec = SpmModelInputSpec
    output_spec = SpmSessionBetasOutputSpec

    def _run_interface(self, runtime: Any) -> Any:
        inputs, folder = self.inputs, Path(runtime.cwd)
        with workplace(folder) as plain:
            runs = read_runs(inputs, plain)
            conditions = [spm_model.conditions_of(run.events, inputs.baseline) for run in runs]
            sessions = []
            for number, (run, of_run) in enumerate(zip(runs, conditions, strict=True), start=1):
                regressors = plain / f"motion{number:02d}.mat"
                spm_model.write_motion_regressors(regressors, [run])
                sessions.append(
                    spm_model.session_info(
                        [run.scans], of_run, regressors, inputs.high_pass_seconds
                    )
                )
            model = estimate(inputs, plain, sessions)
            for number, of_run in enumerate(conditions, start=1):
                _write_session(plain, folder, model, number, of_run)
            n_volumes = [run.n_volumes for run in runs]
            designs = write_designs(model, n_volumes, folder, one_session=False)
            remove_all([*plain.glob("beta_*.nii"), *(run.scans for run in runs)])
        for output, stem in _FILES.items():
            self._results[output] = [
                str(folder / stem.format(number)) for number in range(1, len(runs) + 1)
            ]
        self._results["design_matrices"] = [str(folder / name) for name in designs]
        self._results["spm_mat_file"] = str(folder / WORKPLACE / "SPM.mat")
        return runtime


_FILES = {
    "betas_files": "betas{:02d}.nii",
    "conditions_files": "conditions{:02d}.tsv",
    "information_files": "information{:02d}.tsv",
}


def _write_session(
    betas_dir: Path,
    folder: Path,
    model: EstimatedModel,
    number: int,
    conditions: Sequence[Condition],
) -> None:
    """Write what `PoolBetas` reads of a session."""
    betas, table, information = (folder / stem.format(number) for stem in _FILES.values())
    stack_betas(betas_dir, columns_of(model, number, conditions), betas)
    write_table(table, conditions_table(conditions))
    ordered = [condition.column for condition in conditions]
    matrix = spm_model.information(model, number).loc[ordered, ordered]
    write_table(information, matrix.reset_index(names="condition"))
