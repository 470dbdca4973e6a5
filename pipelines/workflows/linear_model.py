"""From realigned runs to betas: a beta image a stimulus, and betas of partitions of the runs."""

from collections.abc import Sequence

from nipype.interfaces.utility import Merge
from nipype.pipeline.engine import Workflow

from conceptrsa.bids_config.schema import GlmConfig, RoiDefinition
from conceptrsa.interfaces.numerics.resampling import MissingRule
from conceptrsa.interfaces.python.pool_runs import CollectRunBetas, PoolBetas, SampleRun
from conceptrsa.interfaces.python.run_glm import EstimateBetas
from conceptrsa.pipelines.participant_options import partition_runs
from conceptrsa.pipelines.workflows.engines import Engine, set_model
from conceptrsa.pipelines.workflows.steps import MapNode, Node
from conceptrsa.pipelines.workflows.wiring import as_files, begin_workflow, first, grouped

OF_EACH_RUN = ("run_betas", "run_conditions", "run_information")
TO_SPM = {
    "bold_files": "in_files",
    "motion_files": "motion_files",
    "events_files": "events_files",
    "repetition_times": "repetition_times",
}
"""Fields of each run, and the inputs of SPM's models that take them."""
TO_PYTHON = {
    "bold_files": "in_file",
    "motion_files": "motion_file",
    "events_files": "events_file",
    "repetition_times": "repetition_time",
}
"""Likewise the inputs of the embedded engine's model."""
_TO_PLACES = [*as_files("bold_to_t1w", "t1w_to_mni305"), ("segmentation", "dseg_file")]


def init_glm_wf(engine: Engine, settings: GlmConfig, n_volumes: int) -> Workflow:
    """Estimate linear models of the runs: betas of all, odd and even runs.

    They are those of one model of all the runs, not the mean of the runs' betas (unless
    `settings.pooling` says so), which is far noisier if each picture is shown once per run. The
    engine python estimates a model per run, SPM one with a session per run; then both are pooled.
    SPM's concatenated runs are three models, of all, the odd and the even ones.

    Parameters
    ----------
    engine : Engine
        Chooses how runs are modelled.
    settings : GlmConfig
        HRF, high-pass filter (s), noise model, baseline, pooling.
    n_volumes : int
        Of all runs together, as far as it is known: decides SPM's memory.

    Inputs
    ------
    bold_files, motion_files, events_files, repetition_times
        Per run: realigned image, six motion columns (mm, rad), conditions (onsets in s), TR (s).
    brain_mask
        Explicit mask, in EPI space.

    Outputs
    -------
    betas_boldref
        [all runs, odd runs, even runs]; each 4D, a volume a stimulus, in percent of the grand mean.
    stimuli
        TSV that names the volumes.
    design_matrices
        Per run, TSV.
    run_betas, run_conditions, run_information
        Per run, of the engine python only: betas in EPI space, TSV that names their volumes, and
        the information of the design.
    """
    workflow, inputnode, outputnode = begin_workflow(
        "glm_wf",
        [*TO_SPM, "brain_mask"],
        ["betas_boldref", "stimuli", "design_matrices", *OF_EACH_RUN],
    )
    estimate = _init_estimation_node(engine, settings, n_volumes)
    workflow.connect([(inputnode, estimate, [("brain_mask", "mask_file")])])
    if engine.spm is None:
        workflow.connect([
            (inputnode, estimate, list(TO_PYTHON.items())),
            (estimate, outputnode, [
                ("design_matrix_file", "design_matrices"),
                ("betas_file", "run_betas"),
                ("conditions_file", "run_conditions"),
                ("information_file", "run_information"),
            ]),
        ])  # fmt: skip
        _pool_runs(workflow, estimate, outputnode, settings, "{}_file")
        return workflow
    workflow.connect([(inputnode, estimate, list(TO_SPM.items()))])
    if engine.spm.run_model == "sessions":
        workflow.connect([(estimate, outputnode, [("design_matrices", "design_matrices")])])
        _pool_runs(workflow, estimate, outputnode, settings, "{}_files")
    else:
        workflow.connect([
            (estimate, outputnode, [
                ("betas_file", "betas_boldref"),
                (("stimuli_file", first), "stimuli"),
                (("design_matrices", first), "design_matrices"),
            ]),
        ])  # fmt: skip
    return workflow


def _init_estimation_node(engine: Engine, settings: GlmConfig, n_volumes: int) -> Node:
    name = "estimate_betas"
    if engine.spm is None:
        iterfield = list(TO_PYTHON.values())
        estimate = MapNode(EstimateBetas(), iterfield=iterfield, name=name, mem_gb=1.5)
        set_model(estimate, settings)
        estimate.inputs.hrf = settings.hrf
        return estimate
    if engine.spm.run_model == "sessions":
        from conceptrsa.interfaces.spm.run_models import SpmSessionBetas

        return engine.init_spm_model_node(name, SpmSessionBetas, settings, n_volumes)
    from conceptrsa.interfaces.spm.run_models import SPLITS, SpmConcatenatedBetas

    estimate = engine.init_spm_model_node(
        name, SpmConcatenatedBetas, settings, n_volumes, iterfield=["split"]
    )
    estimate.inputs.split = list(SPLITS)
    return estimate


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
        (all_odd_even, outputnode, [("out", "betas_boldref")]),
        (pool, outputnode, [("stimuli_file", "stimuli")]),
    ])  # fmt: skip


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
        Labels in the standard space of the betas.
    betas_boldref, betas_standard
        [all runs, ...] in EPI space and in that one, which must agree with what is sampled.

    Outputs
    -------
    run_betas
        HDF5; see `conceptrsa.interfaces.python.pool_runs.CollectRunBetas`.
    """
    partitions = [list(part) for part in partition_runs(len(run_names), runs_per_partition)]
    labels = [(roi.name, list(roi.labels)) for roi in rois]
    of_each_run = OF_EACH_RUN if engine.spm is None else ()
    workflow, inputnode, outputnode = begin_workflow(
        "run_betas_wf",
        [
            *TO_SPM, *of_each_run, "design_matrices", "brain_mask", "bold_to_t1w",
            "t1w_to_mni305", "segmentation", "betas_boldref", "betas_standard",
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
            (("betas_standard", first), "pooled_standard_file"),
        ]),
        (collect, outputnode, [("out_file", "run_betas")]),
    ])  # fmt: skip
    return workflow
