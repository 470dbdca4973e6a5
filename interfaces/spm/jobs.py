"""nipype's SPM interfaces as generators of jobs, without their ways of running them.

nipype knows how the inputs of SPM's batch modules are called; how it runs them hides failures: the
exit code of SPM is not looked at, an error that SPM reports can end in success, a skipped module
raises an error without the message, and constructing an interface launches MATLAB. So the job is
nipype's, and running it is `conceptrsa.interfaces.spm.script`'s.
"""

from copy import deepcopy
from pathlib import Path
from typing import Any, ClassVar

from nipype.interfaces import spm
from nipype.interfaces.base import BaseInterfaceInputSpec, isdefined, traits

from conceptrsa.interfaces.spm.launcher import DEFAULT_TIME_LIMIT, SpmLauncher, find_launcher
from conceptrsa.interfaces.spm.script import compose, run_script


class SpmJob:
    """Mixin for a nipype SPM interface: its job as text, and `run_in`, which cannot lie."""

    module: ClassVar[str]
    """Name of the batch module as SPM prints it."""

    @property
    def version(self) -> None:
        """Unknown here: nipype would launch MATLAB to ask for it."""
        return None

    def job(self) -> str:
        """Statements that set up the batch job and run it."""
        contents = deepcopy(self._parse_inputs())  # type: ignore[attr-defined]
        prefix = f"jobs{{1}}.spm.{self.jobtype}.{self.jobname}"  # type: ignore[attr-defined]
        statements = self._generate_job(prefix, contents[0])  # type: ignore[attr-defined]
        return f"clear jobs\n{statements}spm_jobman('run', jobs);\n"

    def run_in(
        self,
        launcher: SpmLauncher,
        folder: Path,
        *,
        after: str = "",
        n_threads: int = 1,
    ) -> str:
        """Run the job, with statements after it.

        Parameters
        ----------
        launcher : SpmLauncher
        folder : Path
            Where SPM runs and its script and log are written, under the name of the module.
        after : str
            MATLAB statements.
        n_threads : int
            Processors for SPM's matrix products.

        Returns
        -------
        str
            What SPM printed.

        Raises
        ------
        StepError
            If the module was not done.
        """
        name = "".join(letter if letter.isalnum() else "_" for letter in self.module.lower())
        text = compose(self.job(), after, n_threads=n_threads)
        return run_script(launcher, text, folder, name, [self.module], n_threads)


class SliceTimingJob(SpmJob, spm.SliceTiming):
    """`spm_slice_timing`."""

    module = "Slice Timing"


class RealignJob(SpmJob, spm.Realign):
    """`spm_realign` and `spm_reslice`."""

    module = "Realign: Estimate & Reslice"


class CoregisterJob(SpmJob, spm.Coregister):
    """`spm_coreg`."""

    module = "Coregister: Estimate"


class DesignJob(SpmJob, spm.Level1Design):
    """`spm_run_fmri_spec`: the design of a first-level model."""

    module = "fMRI model specification"


class EstimateJob(SpmJob, spm.EstimateModel):
    """`spm_spm`: estimation of a first-level model."""

    module = "Model estimation"


class SpmInputSpec(BaseInterfaceInputSpec):
    """Inputs of all SPM steps."""

    spm_command = traits.Str(
        nohash=True, desc="command that runs SPM, given 'script FILE.m'; default $SPMMCRCMD"
    )
    spm_version = traits.Str(desc="name and release; another one makes the step run again")
    time_limit = traits.Float(
        DEFAULT_TIME_LIMIT, usedefault=True, nohash=True, desc="of one SPM process (s)"
    )


def launcher_of(inputs: Any) -> SpmLauncher:
    """Give the launcher that a step's inputs name."""
    command = inputs.spm_command if isdefined(inputs.spm_command) else None
    return find_launcher(command, inputs.time_limit)
