"""From realigned runs and a mask to betas: one workflow for each way of modelling the runs.

All have the inputs and outputs of `init_run_estimation_wf`.
"""

from collections.abc import Callable, Sequence
from typing import Any

from nipype.interfaces.utility import IdentityInterface, Merge
from nipype.pipeline.engine import Workflow

from conceptrsa.bids_config.schema import GlmConfig
from conceptrsa.interfaces.python.estimate import EstimateBetas, PoolBetas
from conceptrsa.pipelines.workflows.steps import MapNode, Node

PER_RUN = ("bold_files", "motion_files", "events_files", "repetition_times")
INPUTS = (*PER_RUN, "brain_mask")
SPM_GB = 1.2
OUTPUTS = ("betas", "stimuli", "design_matrices")
OF_EACH_RUN = ("run_betas", "run_conditions", "run_information")


def init_run_estimation_wf(
    settings: GlmConfig, n_volumes: int, name: str = "estimation_wf"
) -> Workflow:
    """Embedded engine: a model a run, its betas pooled over all, odd and even runs.

    Parameters
    ----------
    settings : GlmConfig
        HRF, high-pass filter (s), noise model, baseline, pooling.
    n_volumes : int
        Of all runs together; of no matter here, as runs are estimated apart.
    name : str
        Name of the workflow.

    Inputs
    ------
    bold_files, motion_files, events_files, repetition_times
        Per run: realigned image, six motion columns (mm, rad), conditions (onsets in s), TR (s).
    brain_mask
        Explicit mask.

    Outputs
    -------
    betas
        [all runs, odd runs, even runs]; each 4D, a volume a stimulus.
    stimuli
        TSV that names the volumes.
    design_matrices
        Per run, TSV.
    run_betas, run_conditions, run_information
        Per run, of this engine only: what is pooled.
    """
    workflow, inputnode, outputnode = _outline(name, OF_EACH_RUN)
    estimate = MapNode(
        EstimateBetas(),
        iterfield=["in_file", "motion_file", "events_file", "repetition_time"],
        name="estimate_betas",
        mem_gb=1.5,
    )
    set_model(estimate, settings)
    estimate.inputs.hrf = settings.hrf
    workflow.connect([
        (inputnode, estimate, [
            ("bold_files", "in_file"),
            ("motion_files", "motion_file"),
            ("events_files", "events_file"),
            ("repetition_times", "repetition_time"),
            ("brain_mask", "mask_file"),
        ]),
        (estimate, outputnode, [
            ("design_matrix_file", "design_matrices"),
            ("betas_file", "run_betas"),
            ("conditions_file", "run_conditions"),
            ("information_file", "run_information"),
        ]),
    ])  # fmt: skip
    _pool_runs(workflow, estimate, outputnode, settings, "{}_file")
    return workflow


def init_spm_sessions_wf(
    settings: GlmConfig,
    n_volumes: int,
    make_step: Callable[..., Any],
    n_threads: int = 1,
    name: str = "estimation_wf",
) -> Workflow:
    """SPM: one model with a session a run, its betas pooled over all, odd and even sessions.

    Parameters
    ----------
    settings : GlmConfig
        As for `init_run_estimation_wf`.
    n_volumes : int
        Of all runs together: decides the memory.
    make_step : callable
        Makes an SPM interface from its class, told how SPM is run.
    n_threads : int
        Processors for its matrix products.
    name : str
        Name of the workflow.
    """
    from conceptrsa.interfaces.spm.run_models import SpmSessionBetas

    workflow, inputnode, outputnode = _outline(name)
    estimate = Node(
        make_step(SpmSessionBetas, spm_threads=n_threads),
        name="estimate_betas",
        n_procs=n_threads,
        mem_gb=spm_memory_gb(n_volumes),
    )
    set_model(estimate, settings)
    workflow.connect([
        (inputnode, estimate, TO_SPM),
        (estimate, outputnode, [("design_matrices", "design_matrices")]),
    ])  # fmt: skip
    _pool_runs(workflow, estimate, outputnode, settings, "{}_files")
    return workflow


def init_spm_concatenated_wf(
    settings: GlmConfig,
    n_volumes: int,
    make_step: Callable[..., Any],
    n_threads: int = 1,
    name: str = "estimation_wf",
) -> Workflow:
    """SPM: three models of concatenated runs, of all, the odd and the even ones.

    Parameters
    ----------
    settings : GlmConfig
        As for `init_run_estimation_wf`; pooling is joint by construction.
    n_volumes : int
        Of all runs together: decides the memory.
    make_step : callable
        Makes an SPM interface from its class, told how SPM is run.
    n_threads : int
        Processors for its matrix products.
    name : str
        Name of the workflow.
    """
    from conceptrsa.interfaces.spm.run_models import SPLITS, SpmConcatenatedBetas

    workflow, inputnode, outputnode = _outline(name)
    estimate = MapNode(
        make_step(SpmConcatenatedBetas, spm_threads=n_threads),
        iterfield=["split"],
        name="estimate_betas",
        n_procs=n_threads,
        mem_gb=spm_memory_gb(n_volumes),
    )
    estimate.inputs.split = list(SPLITS)
    set_model(estimate, settings)
    workflow.connect([
        (inputnode, estimate, TO_SPM),
        (estimate, outputnode, [
            ("betas_file", "betas"),
            (("stimuli_file", of_all_runs), "stimuli"),
            (("design_matrices", of_all_runs), "design_matrices"),
        ]),
    ])  # fmt: skip
    return workflow


TO_SPM = [
    ("bold_files", "in_files"),
    ("motion_files", "motion_files"),
    ("events_files", "events_files"),
    ("repetition_times", "repetition_times"),
    ("brain_mask", "mask_file"),
]


def spm_memory_gb(n_volumes: int) -> float:
    """Memory of SPM estimating one model: its own, and six matrices of volumes x volumes.

    Measured on Octave with 546 to 3026 volumes (`docs/performance.md`).
    """
    return SPM_GB + 6 * 8 * n_volumes**2 / 1e9


def of_all_runs(results: list[object]) -> object:
    """Give the first of the results of all, odd and even runs (nipype runs this by its source)."""
    return results[0]


def _outline(name: str, outputs: Sequence[str] = ()) -> tuple[Workflow, Node, Node]:
    inputnode = Node(IdentityInterface(fields=list(INPUTS)), name="inputnode")
    outputnode = Node(IdentityInterface(fields=[*OUTPUTS, *outputs]), name="outputnode")
    return Workflow(name=name), inputnode, outputnode


def set_model(estimate: Node, settings: GlmConfig) -> None:
    """Tell a node that estimates a model what all engines' models are told."""
    estimate.inputs.high_pass_seconds = settings.high_pass_seconds
    estimate.inputs.noise_model = settings.noise_model
    estimate.inputs.baseline = settings.baseline
    estimate.inputs.slice_time_reference = settings.slice_time_reference


def _pool_runs(
    workflow: Workflow, estimate: Node, outputnode: Node, settings: GlmConfig, output: str
) -> None:
    """Pool betas over all, odd and even runs; `output` makes an output's name of what it holds."""
    pool = Node(PoolBetas(), name="pool_betas", mem_gb=1.0)
    all_odd_even = Node(Merge(3), name="all_odd_even")
    pooled = ["betas", "conditions"]
    if settings.pooling == "joint":
        pooled.append("information")
    workflow.connect([
        (estimate, pool, [(output.format(name), f"{name}_files") for name in pooled]),
        (pool, all_odd_even, [
            ("pooled_file", "in1"),
            ("odd_file", "in2"),
            ("even_file", "in3"),
        ]),
        (all_odd_even, outputnode, [("out", "betas")]),
        (pool, outputnode, [("stimuli_file", "stimuli")]),
    ])  # fmt: skip
