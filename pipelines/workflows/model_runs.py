"""From realigned runs to one beta image a stimulus."""

from nipype.interfaces.utility import IdentityInterface
from nipype.pipeline.engine import Workflow

from conceptrsa.bids_config.schema import GlmConfig
from conceptrsa.interfaces.python.masks import BrainMask
from conceptrsa.pipelines.workflows.engines import Engine
from conceptrsa.pipelines.workflows.estimation import OF_EACH_RUN, PER_RUN
from conceptrsa.pipelines.workflows.steps import Node


def init_glm_wf(
    engine: Engine, settings: GlmConfig, n_volumes: int, name: str = "glm_wf"
) -> Workflow:
    """Estimate linear models of the runs: betas of all, odd and even runs.

    They are those of one model of all the runs, not the mean of the runs' betas (unless
    `settings.pooling` says so), which is far noisier where each picture is shown once a run.

    Parameters
    ----------
    engine : Engine
        Chooses how runs are modelled.
    settings : GlmConfig
        HRF, high-pass filter (s), noise model, baseline, pooling.
    n_volumes : int
        Of all runs together, as far as it is known.
    name : str
        Name of the workflow.

    Inputs
    ------
    bold_files, motion_files, events_files, repetition_times
        Per run: realigned image, six motion columns (mm, rad), conditions (onsets in s), TR (s).
    boldref, valid_mask, bold_to_t1w, t1w_mask
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
    run_betas, run_conditions, run_information
        Per run, of the engine python only: betas in EPI space, TSV that names their volumes, and
        the information of the design.
    """
    workflow = Workflow(name=name)
    for_mask = ["boldref", "valid_mask", "bold_to_t1w", "t1w_mask"]
    inputnode = Node(IdentityInterface(fields=[*PER_RUN, *for_mask]), name="inputnode")
    outputs = ["betas", "stimuli", "brain_mask", "design_matrices", *OF_EACH_RUN]
    outputnode = Node(IdentityInterface(fields=outputs), name="outputnode")

    brain_mask = Node(BrainMask(), name="brain_mask", mem_gb=1.0)
    estimation_wf = engine.init_estimation_wf(settings, n_volumes)
    workflow.connect([
        (inputnode, brain_mask, [
            ("boldref", "boldref_file"),
            ("valid_mask", "valid_mask_file"),
            ("bold_to_t1w", "bold_to_t1w_file"),
            ("t1w_mask", "t1w_mask_file"),
        ]),
        (inputnode, estimation_wf, [(field, f"inputnode.{field}") for field in PER_RUN]),
        (brain_mask, estimation_wf, [("mask_file", "inputnode.brain_mask")]),
        (estimation_wf, outputnode, [
            ("outputnode.betas", "betas"),
            ("outputnode.stimuli", "stimuli"),
            ("outputnode.design_matrices", "design_matrices"),
        ]),
        (brain_mask, outputnode, [("mask_file", "brain_mask")]),
    ])  # fmt: skip
    if engine.has_run_betas:
        of_each_run = [(f"outputnode.{field}", field) for field in OF_EACH_RUN]
        workflow.connect([(estimation_wf, outputnode, of_each_run)])
    return workflow
