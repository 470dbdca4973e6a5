"""From realigned runs to one beta image a stimulus."""

from nipype.interfaces.utility import IdentityInterface, Merge
from nipype.pipeline.engine import MapNode, Node, Workflow

from bids_config.schema import GlmConfig
from interfaces.brain_mask import BrainMask
from interfaces.glm import PoolBetas
from pipelines.workflows.engines import Engine


def init_glm_wf(engine: Engine, settings: GlmConfig, name: str = "glm_wf") -> Workflow:
    """Estimate a linear model per run, and pool its betas over all, odd and even runs.

    Pooled betas are those of one model of all the runs (`interfaces.embedded.pooling`), not their
    mean over runs, which is far noisier where each picture is shown once a run.

    Parameters
    ----------
    engine : Engine
        Chooses the interface that estimates.
    settings : GlmConfig
        HRF, high-pass filter (s), noise model, baseline.
    name : str
        Name of the workflow.

    Inputs
    ------
    bold_files, motion_files, events_files, repetition_times
        Per run: realigned image, six motion columns (mm, rad), conditions (onsets in s), TR (s).
    boldref, valid_mask, bold_to_t1w, t1w_to_mni305
        What the explicit brain mask is made from.

    Outputs
    -------
    betas
        [all runs, odd runs, even runs]; each 4D, a volume a stimulus, in percent of the grand mean.
    stimuli
        TSV that names the volumes.
    brain_mask
        The mask, in EPI space.
    design_matrices
        Per run, TSV.
    """
    workflow = Workflow(name=name)
    per_run = ["bold_files", "motion_files", "events_files", "repetition_times"]
    for_mask = ["boldref", "valid_mask", "bold_to_t1w", "t1w_to_mni305"]
    inputnode = Node(IdentityInterface(fields=per_run + for_mask), name="inputnode")
    outputs = ["betas", "stimuli", "brain_mask", "design_matrices"]
    outputnode = Node(IdentityInterface(fields=outputs), name="outputnode")

    brain_mask = Node(BrainMask(), name="brain_mask")
    estimate = MapNode(
        engine.estimate_betas(),
        iterfield=["in_file", "motion_file", "events_file", "repetition_time"],
        name="estimate_betas",
        mem_gb=1.5,
    )
    estimate.inputs.hrf = settings.hrf
    estimate.inputs.high_pass_seconds = settings.high_pass_seconds
    estimate.inputs.noise_model = settings.noise_model
    estimate.inputs.baseline = settings.baseline
    estimate.inputs.slice_time_reference = settings.slice_time_reference
    pool = Node(PoolBetas(), name="pool_betas", mem_gb=1.0)
    all_odd_even = Node(Merge(3), name="all_odd_even")

    workflow.connect([
        (inputnode, brain_mask, [
            ("boldref", "boldref_file"),
            ("valid_mask", "valid_mask_file"),
            ("bold_to_t1w", "bold_to_t1w_file"),
            ("t1w_to_mni305", "t1w_to_mni305_file"),
        ]),
        (inputnode, estimate, [
            ("bold_files", "in_file"),
            ("motion_files", "motion_file"),
            ("events_files", "events_file"),
            ("repetition_times", "repetition_time"),
        ]),
        (brain_mask, estimate, [("mask_file", "mask_file")]),
        (estimate, pool, [
            ("betas_file", "betas_files"),
            ("conditions_file", "conditions_files"),
            ("information_file", "information_files"),
        ]),
        (pool, all_odd_even, [
            ("pooled_file", "in1"),
            ("odd_file", "in2"),
            ("even_file", "in3"),
        ]),
        (all_odd_even, outputnode, [("out", "betas")]),
        (pool, outputnode, [("stimuli_file", "stimuli")]),
        (brain_mask, outputnode, [("mask_file", "brain_mask")]),
        (estimate, outputnode, [("design_matrix_file", "design_matrices")]),
    ])  # fmt: skip
    return workflow
