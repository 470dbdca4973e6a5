"""Betas of partitions of the runs, and residual covariance, at the voxels of regions."""

from collections.abc import Sequence

from nipype.pipeline.engine import Workflow

from conceptrsa.bids_config.schema import GlmConfig, RoiDefinition
from conceptrsa.interfaces.numerics.resampling import MissingRule
from conceptrsa.interfaces.python.estimate_runs import CollectRunBetas, SampleRun
from conceptrsa.pipelines.participant_options import partition_runs
from conceptrsa.pipelines.workflows.engines import Engine
from conceptrsa.pipelines.workflows.model_runs import OF_EACH_RUN, TO_SPM
from conceptrsa.pipelines.workflows.steps import MapNode, Node
from conceptrsa.pipelines.workflows.wiring import (
    as_files,
    begin_workflow,
    first,
    grouped,
)

_TO_PLACES = [*as_files("bold_to_t1w", "t1w_to_mni305"), ("segmentation", "dseg_file")]


def init_run_betas_wf(
    engine: Engine,
    settings: GlmConfig,
    rois: Sequence[RoiDefinition],
    run_names: Sequence[str],
    runs_per_partition: int,
    n_volumes: int,
    missing: MissingRule,
) -> Workflow:
    """Betas of partitions of the runs and the covariance of the residuals, region by region.

    The engine python samples betas and residuals of each run, and pools them when they are
    collected; SPM estimates a model of concatenated runs for each partition.

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
        See `conceptrsa.pipelines.participant_options.partition_runs`.
    n_volumes : int
        Of all runs together: decides SPM's memory.
    missing : {'excluded', 'zero'}
        What voxels without data count as where their neighbours are interpolated.

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
    partitions = [list(part) for part in partition_runs(len(run_names), runs_per_partition)]
    labels = [(roi.name, list(roi.labels)) for roi in rois]
    workflow, inputnode, outputnode = begin_workflow(
        "run_betas_wf",
        [
            *TO_SPM, *OF_EACH_RUN, "design_matrices", "brain_mask", "bold_to_t1w",
            "t1w_to_mni305", "segmentation", "betas_boldref", "betas_mni305",
        ],
        ["run_betas"],
    )  # fmt: skip
    collect = Node(
        CollectRunBetas(
            rois=labels,
            missing=missing,
            partitions=partitions if engine.spm is None else [[n] for n in range(len(partitions))],
            names=["+".join(run_names[run] for run in part) for part in partitions],
        ),
        name="collect_run_betas",
        mem_gb=1.0,
    )
    if engine.spm is None:
        sample = MapNode(
            SampleRun(rois=labels, missing=missing),
            iterfield=["in_file", "betas_file", "design_matrix_file"],
            name="sample_runs",
            mem_gb=1.0,
        )
        workflow.connect([
            (inputnode, sample, [
                ("bold_files", "in_file"),
                ("run_betas", "betas_file"),
                ("design_matrices", "design_matrix_file"),
            ]),
            (inputnode, collect, [("run_conditions", "conditions_files")]),
        ])  # fmt: skip
        if settings.pooling == "joint":
            information = [("run_information", "information_files")]
            workflow.connect([(inputnode, collect, information)])
    else:
        from conceptrsa.interfaces.spm.run_models import SpmSamplePartition

        sample = engine.init_spm_model_node(
            "sample_partitions",
            SpmSamplePartition,
            settings,
            round(n_volumes * max(map(len, partitions)) / len(run_names)),
            iterfield=list(TO_SPM.values()),
            rois=labels,
            missing=missing,
        )
        by_partition = [((run, grouped, partitions), target) for run, target in TO_SPM.items()]
        workflow.connect([
            (inputnode, sample, by_partition),
            (sample, collect, [("conditions_file", "conditions_files")]),
        ])  # fmt: skip
    workflow.connect([
        (inputnode, sample, [*_TO_PLACES, ("brain_mask", "mask_file")]),
        (sample, collect, [
            ("betas_file", "betas_files"),
            ("residuals_file", "residuals_files"),
        ]),
        (inputnode, collect, [
            *_TO_PLACES,
            (("betas_boldref", first), "pooled_boldref_file"),
            (("betas_mni305", first), "pooled_mni305_file"),
        ]),
        (collect, outputnode, [("out_file", "run_betas")]),
    ])  # fmt: skip
    return workflow
