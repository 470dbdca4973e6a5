"""Which interface does which step: the engine chooses it, never the shape of the workflow."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, get_args

from nipype.pipeline.engine import Workflow

from conceptrsa.bids_config.errors import InputError
from conceptrsa.bids_config.schema import GlmConfig
from conceptrsa.pipelines.options import EngineName, RunModel


@dataclass(frozen=True)
class SpmSettings:
    """How SPM is run, and how it models the runs.

    Attributes
    ----------
    command : str or None
        Command that runs SPM; None: as `conceptrsa.interfaces.spm.launcher.find_launcher` finds it.
    version : str or None
        What it is, such as 'SPM12 7771'; None where it was not asked.
    time_limit : float or None
        Of one SPM process (s); None: the interfaces' own.
    run_model : {'concatenated', 'sessions'}
        All runs as one session of SPM, as in the paper, or one session a run.
    """

    command: str | None = None
    version: str | None = None
    time_limit: float | None = None
    run_model: RunModel = "concatenated"


@dataclass(frozen=True)
class Engine:
    """The interfaces behind the steps that an engine may do in its own way.

    Attributes
    ----------
    name : str
        As given on the command line.
    slice_timing, realign, coregister : callable
        Each makes a fresh nipype interface; all engines' interfaces for a step share the names of
        the inputs and outputs that the workflows connect.
    init_estimation_wf : callable
        Makes the workflow from realigned runs to betas from the settings and the number of volumes
        of all runs; inputs and outputs are the same for all engines
        (`conceptrsa.pipelines.workflows.estimation`).
    init_run_samples_wf : callable
        Makes the workflow from there to the betas and residuals of partitions of the runs at the
        voxels of regions (`conceptrsa.pipelines.workflows.run_betas`).
    has_run_betas : bool
        Whether `init_estimation_wf` gives the betas of each run.
    """

    name: str
    slice_timing: Callable[[], Any]
    realign: Callable[[], Any]
    coregister: Callable[[], Any]
    init_estimation_wf: Callable[[GlmConfig, int], Workflow]
    init_run_samples_wf: Callable[..., Workflow]
    has_run_betas: bool


def get_engine(name: str, spm: SpmSettings | None = None, n_threads: int = 1) -> Engine:
    """Look an engine up by name.

    Parameters
    ----------
    name : {'python', 'spm'}
    spm : SpmSettings, optional
        For the engine spm.
    n_threads : int
        Processors for SPM's matrix products.

    Raises
    ------
    InputError
        If there is no engine of that name.
    """
    if name == "python":
        return _python_engine()
    if name == "spm":
        return _spm_engine(spm or SpmSettings(), n_threads)
    raise InputError(f"there is no engine '{name}'; use one of: {', '.join(get_args(EngineName))}")


def _python_engine() -> Engine:
    from conceptrsa.interfaces.python.preprocess import Coregister, Realign, SliceTiming
    from conceptrsa.pipelines.workflows.estimation import init_run_estimation_wf
    from conceptrsa.pipelines.workflows.run_betas import init_run_samples_wf

    return Engine(
        "python",
        SliceTiming,
        Realign,
        Coregister,
        init_run_estimation_wf,
        init_run_samples_wf,
        has_run_betas=True,
    )


def _spm_engine(spm: SpmSettings, n_threads: int) -> Engine:
    from conceptrsa.interfaces.spm.preprocessing_jobs import (
        SpmCoregister,
        SpmRealign,
        SpmSliceTiming,
    )
    from conceptrsa.pipelines.workflows.estimation import (
        init_spm_concatenated_wf,
        init_spm_sessions_wf,
    )
    from conceptrsa.pipelines.workflows.run_betas import init_spm_samples_wf

    given = {
        "spm_command": spm.command,
        "spm_version": spm.version,
        "time_limit": spm.time_limit,
    }
    inputs = {name: value for name, value in given.items() if value is not None}

    def make_step(interface: Callable[..., Any], **others: Any) -> Any:
        return interface(**inputs, **others)

    init_estimation_wf = {
        "concatenated": init_spm_concatenated_wf,
        "sessions": init_spm_sessions_wf,
    }[spm.run_model]
    return Engine(
        "spm",
        partial(make_step, SpmSliceTiming),
        partial(make_step, SpmRealign),
        partial(make_step, SpmCoregister),
        partial(init_estimation_wf, make_step=make_step, n_threads=n_threads),
        partial(init_spm_samples_wf, make_step=make_step, n_threads=n_threads),
        has_run_betas=False,
    )
