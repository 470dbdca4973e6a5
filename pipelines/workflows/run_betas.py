"""Betas of partitions of the runs, and residual covariance, at the voxels of regions."""

from collections.abc import Callable, Sequence

from nipype.interfaces.utility import IdentityInterface
from nipype.pipeline.engine import Workflow

from conceptrsa.bids_config.schema import GlmConfig, RoiDefinition
from conceptrsa.interfaces.numerics.resampling import MissingRule
from conceptrsa.interfaces.python.estimate_runs import CollectRunBetas, SampleRun
from conceptrsa.pipelines.options import partition_runs
from conceptrsa.pipelines.workflows.engines import Engine
from conceptrsa.pipelines.workflows.estimation import (
    OF_EACH_RUN,
    PER_RUN,
    TO_SPM,
    set_model,
    spm_memory_gb,
)
from conceptrsa.pipelines.workflows.steps import MapNode, Node

PLACES = ("bold_to_t1w", "t1w_to_mni305", "segmentation")
SAMPLE_INPUTS = (*PER_RUN, *OF_EACH_RUN, "design_matrices", "brain_mask", *PLACES)
SAMPLE_OUTPUTS = ("betas", "residuals", "conditions", "information")
Partitions = Sequence[Sequence[int]]
Rois = list[tuple[str, list[int]]]


def init_run_betas_wf(
    engine: Engine,
    settings: GlmConfig,
    rois: Sequence[RoiDefinition],
    run_names: Sequence[str],
    runs_per_partition: int,
    n_volumes: int,
    missing: MissingRule = "excluded",
    name: str = "run_betas_wf",
) -> Workflow:
    """Betas of partitions of the runs and the covariance of the residuals, region by region.

    Parameters
    ----------
    engine : Engine
        Estimates them.
    settings : GlmConfig
        HRF, high-pass filter (s), noise model, baseline, pooling.
    rois : sequence of RoiDefinition
        Label sets.
    run_names : sequence of str
        Of the runs, in their order.
    runs_per_partition : int
        See `conceptrsa.pipelines.options.partition_runs`.
    n_volumes : int
        Of all runs together: decides SPM's memory.
    missing : {'excluded', 'zero'}
        What voxels without data count as where their neighbours are interpolated.
    name : str
        Name of the workflow.

    Inputs
    ------
    bold_files, motion_files, events_files, repetition_times
        Per run: realigned image, six motion columns (mm, rad), conditions (onsets in s), TR (s).
    run_betas, run_conditions, run_information, design_matrices
        Per run, for the engine python: betas, TSV that names their volumes, information of the
        design, and the design.
    brain_mask
        Explicit mask of the linear model.
    bold_to_t1w, t1w_to_mni305
        4x4 matrices (RAS, mm).
    segmentation
        Labels in MNI305.
    betas_boldref, betas_mni305
        [all runs, ...] in EPI space and in MNI305, which must agree with what is sampled.

    Outputs
    -------
    run_betas
        HDF5; see `conceptrsa.interfaces.python.estimate_runs.CollectRunBetas`.
    """
    partitions = partition_runs(len(run_names), runs_per_partition)
    labels: Rois = [(roi.name, list(roi.labels)) for roi in rois]
    workflow = Workflow(name=name)
    fields = [*SAMPLE_INPUTS, "betas_boldref", "betas_mni305"]
    inputnode = Node(IdentityInterface(fields=fields), name="inputnode")
    outputnode = Node(IdentityInterface(fields=["run_betas"]), name="outputnode")
    samples_wf = engine.init_run_samples_wf(settings, labels, missing, partitions, n_volumes)
    # The engine python samples runs and pools them here; SPM's model pools them itself.
    members = partitions if engine.has_run_betas else [[n] for n in range(len(partitions))]
    collect = Node(
        CollectRunBetas(
            rois=labels,
            missing=missing,
            partitions=[list(part) for part in members],
            names=["+".join(run_names[run] for run in part) for part in partitions],
        ),
        name="collect_run_betas",
        mem_gb=COLLECT_GB,
    )
    sampled = [("outputnode." + field, f"{field}_files") for field in SAMPLE_OUTPUTS[:3]]
    if engine.has_run_betas and settings.pooling == "joint":
        sampled.append(("outputnode.information", "information_files"))
    workflow.connect([
        (inputnode, samples_wf, [(field, f"inputnode.{field}") for field in SAMPLE_INPUTS]),
        (samples_wf, collect, sampled),
        (inputnode, collect, [
            *_TO_PLACES,
            (("betas_boldref", of_all), "pooled_boldref_file"),
            (("betas_mni305", of_all), "pooled_mni305_file"),
        ]),
        (collect, outputnode, [("out_file", "run_betas")]),
    ])  # fmt: skip
    return workflow


def init_run_samples_wf(
    settings: GlmConfig,
    rois: Rois,
    missing: MissingRule,
    partitions: Partitions,
    n_volumes: int,
    name: str = "samples_wf",
) -> Workflow:
    """Embedded engine: betas and residuals of each run, to be pooled.

    Parameters
    ----------
    settings, rois, missing, n_volumes
        As for `init_run_betas_wf`.
    partitions : sequence of sequence of int
        Of no matter here, as runs are pooled later.
    name : str
        Name of the workflow.

    Inputs
    ------
    As `init_run_betas_wf`'s, but for the betas of all runs.

    Outputs
    -------
    betas, residuals
        `.npy`, per run.
    conditions, information
        Per run, as they came.
    """
    workflow, inputnode, outputnode = _outline(name)
    sample = MapNode(
        SampleRun(rois=rois, missing=missing),
        iterfield=["in_file", "betas_file", "design_matrix_file"],
        name="sample_runs",
        mem_gb=1.0,
    )
    workflow.connect([
        (inputnode, sample, [
            *_TO_PLACES,
            ("bold_files", "in_file"),
            ("run_betas", "betas_file"),
            ("design_matrices", "design_matrix_file"),
            ("brain_mask", "mask_file"),
        ]),
        (sample, outputnode, _SAMPLED),
        (inputnode, outputnode, [
            ("run_conditions", "conditions"),
            ("run_information", "information"),
        ]),
    ])  # fmt: skip
    return workflow


def init_spm_samples_wf(
    settings: GlmConfig,
    rois: Rois,
    missing: MissingRule,
    partitions: Partitions,
    n_volumes: int,
    make_step: Callable[..., object],
    n_threads: int = 1,
    name: str = "samples_wf",
) -> Workflow:
    """SPM: a model of concatenated runs for each partition, with its residuals.

    Parameters
    ----------
    settings, rois, missing, n_volumes
        As for `init_run_betas_wf`.
    partitions : sequence of sequence of int
        Runs of each model, counted from 0.
    make_step : callable
        Makes an SPM interface from its class, told how SPM is run.
    n_threads : int
        Processors for its matrix products.
    name : str
        Name of the workflow.
    """
    from conceptrsa.interfaces.spm.run_models import SpmSamplePartition

    workflow, inputnode, outputnode = _outline(name)
    runs = [list(part) for part in partitions]
    n_runs = sum(map(len, runs))
    largest = n_volumes * max(map(len, runs)) / n_runs
    of_each = [target for source, target in TO_SPM if source in PER_RUN]
    sample = MapNode(
        make_step(SpmSamplePartition, spm_threads=n_threads, rois=rois, missing=missing),
        iterfield=of_each,
        name="sample_partitions",
        n_procs=n_threads,
        mem_gb=spm_memory_gb(round(largest)),
    )
    set_model(sample, settings)
    workflow.connect([
        (inputnode, sample, [
            *_TO_PLACES,
            *(((source, grouped, runs), target) for source, target in TO_SPM if source in PER_RUN),
            ("brain_mask", "mask_file"),
        ]),
        (sample, outputnode, [*_SAMPLED, ("conditions_file", "conditions")]),
    ])  # fmt: skip
    return workflow


COLLECT_GB = 1.0
_TO_PLACES = [
    ("bold_to_t1w", "bold_to_t1w_file"),
    ("t1w_to_mni305", "t1w_to_mni305_file"),
    ("segmentation", "dseg_file"),
]
_SAMPLED = [("betas_file", "betas"), ("residuals_file", "residuals")]


def of_all(results: list[str]) -> str:
    """Give the first of the results of all, odd and even runs (nipype runs this by its source)."""
    return results[0]


def grouped(items: list[object], partitions: list[list[int]]) -> list[list[object]]:
    """Sort what there is of each run by partition (nipype runs this by its source)."""
    return [[items[run] for run in part] for part in partitions]


def _outline(name: str) -> tuple[Workflow, Node, Node]:
    inputnode = Node(IdentityInterface(fields=list(SAMPLE_INPUTS)), name="inputnode")
    outputnode = Node(IdentityInterface(fields=list(SAMPLE_OUTPUTS)), name="outputnode")
    return Workflow(name=name), inputnode, outputnode
