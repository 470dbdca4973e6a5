"""From runs to volumes that agree in time and space, and their place in the anatomy."""

from nipype.pipeline.engine import Workflow

from conceptrsa.interfaces.python.fmriprep_inputs import CombineMasks, CombineRuns, ImportRun
from conceptrsa.interfaces.python.preprocess import CheckCoregistration
from conceptrsa.pipelines.workflows.engines import Engine
from conceptrsa.pipelines.workflows.steps import MapNode, Node
from conceptrsa.pipelines.workflows.wiring import begin_workflow

OUTPUTS = (
    "bold_files", "motion_files", "boldref", "valid_mask", "bold_to_t1w", "coregistration_report",
)  # fmt: skip


TO_SLICE_TIMING = {
    "bold_files": "in_file",
    "slice_times": "slice_times",
    "slice_axes": "slice_axis",
    "repetition_times": "repetition_time",
    "reference_times": "reference_time",
}
"""Fields of each run, and the inputs of slice timing that take them."""


def init_preprocessing_wf(
    engine: Engine, corrects_slices: bool, n_threads: int, keep_work: bool
) -> Workflow:
    """Correct slices for their timing, realign all runs together, and coregister their mean.

    Every run is resliced once, in the grid of the mean image; coregistration resamples nothing.

    Parameters
    ----------
    engine : Engine
        Chooses the interfaces.
    corrects_slices : bool
        Whether runs are corrected for the timing of their slices.
    n_threads : int
        Processors that realignment may use; the result does not depend on it.
    keep_work : bool
        Whether each run stays when it has been resliced.

    Inputs
    ------
    bold_files
        Raw runs in session and run order, list of 4D images.
    t1w
        Anatomical image.
    slice_times
        Per run, the acquisition time of each slice (s).
    slice_axes
        Per run, the axis along which the slices lie ('i', 'j', 'k', with '-' when reversed).
    repetition_times
        Per run (s).
    reference_times
        Per run, the moment within a volume that every slice is taken to (s).

    Outputs
    -------
    bold_files
        Resliced runs, all in the grid of the mean image.
    motion_files
        Per run, six columns: translations (mm), rotations (rad).
    boldref
        Mean of all volumes.
    valid_mask
        Voxels inside the field of view in every volume.
    bold_to_t1w
        4x4 matrix, EPI world (RAS, mm) to T1w world.
    coregistration_report
        JSON: the metric of every start and what was concluded from it.
    """
    workflow, inputnode, outputnode = begin_workflow(
        "preprocessing_wf", ["t1w", *TO_SLICE_TIMING], OUTPUTS
    )
    realign = Node(engine.realign(), name="realign", n_procs=n_threads, mem_gb=1.5)
    realign.inputs.n_threads = n_threads
    # Without slice timing realignment takes the raw files, which stay whatever happens.
    realign.inputs.uses_up_inputs = corrects_slices and not keep_work
    coregister = Node(engine.coregister(), name="coregister", mem_gb=1.0)
    if corrects_slices:
        slice_timing = MapNode(
            engine.slice_timing(),
            iterfield=list(TO_SLICE_TIMING.values()),
            name="slice_timing",
            mem_gb=1.0,
        )
        workflow.connect([
            (inputnode, slice_timing, list(TO_SLICE_TIMING.items())),
            (slice_timing, realign, [("out_file", "in_files")]),
        ])  # fmt: skip
    else:
        workflow.connect([(inputnode, realign, [("bold_files", "in_files")])])
    workflow.connect([
        (inputnode, coregister, [("t1w", "reference_file")]),
        (realign, coregister, [("mean_file", "source_file")]),
        (realign, outputnode, [
            ("out_files", "bold_files"),
            ("motion_files", "motion_files"),
            ("mean_file", "boldref"),
            ("valid_mask_file", "valid_mask"),
        ]),
        (coregister, outputnode, [
            ("transform_file", "bold_to_t1w"),
            ("report_file", "coregistration_report"),
        ]),
    ])  # fmt: skip
    return workflow


def init_preprocessed_wf(in_standard_space: bool = False) -> Workflow:
    """Take runs that fMRIPrep preprocessed and that lie in T1w space, or in a standard space.

    In T1w space its outputs are those of `init_preprocessing_wf`. Nothing is interpolated and no
    engine has a part in it. Whether EPI and T1w lie on one another is looked at all the same. In a
    standard space nothing is left to be registered: the brain mask is fMRIPrep's.

    Inputs
    ------
    bold_files
        Per run, 4D image in that space, all in one grid.
    confounds_files
        Per run, TSV with the motion parameters (mm, rad) among its columns.
    t1w
        Anatomical image in T1w space.
    mask_files
        Per run in a standard space, its brain mask.

    Outputs
    -------
    bold_files
        The runs, uncompressed.
    motion_files
        Per run, six columns: translations (mm), rotations (rad).
    boldref
        Mean of all volumes.
    valid_mask
        Voxels inside the field of view in every volume.
    bold_to_t1w
        The identity: world of the runs to T1w world.
    coregistration_report
        In T1w space, JSON: the evidence that they lie on the T1w, and warnings.
    brain_mask, t1w_to_mni305
        In a standard space, the explicit mask of the linear model, and the identity.
    """
    inputs, outputs = ["t1w"], list(OUTPUTS)
    if in_standard_space:
        inputs, outputs = ["mask_files"], [*OUTPUTS[:-1], "brain_mask", "t1w_to_mni305"]
    workflow, inputnode, outputnode = begin_workflow(
        "preprocessed_wf", ["bold_files", "confounds_files", *inputs], outputs
    )
    import_runs = MapNode(
        ImportRun(), iterfield=["in_file", "confounds_file"], name="import_runs", mem_gb=0.5
    )
    combine_runs = Node(CombineRuns(), name="combine_runs", mem_gb=0.5)
    workflow.connect([
        (inputnode, import_runs, [
            ("bold_files", "in_file"),
            ("confounds_files", "confounds_file"),
        ]),
        (import_runs, combine_runs, [
            ("motion_file", "motion_files"),
            ("mean_file", "mean_files"),
            ("valid_file", "valid_files"),
        ]),
        (import_runs, outputnode, [
            ("out_file", "bold_files"),
            ("motion_file", "motion_files"),
        ]),
        (combine_runs, outputnode, [
            ("mean_file", "boldref"),
            ("valid_mask_file", "valid_mask"),
            ("transform_file", "bold_to_t1w"),
        ]),
    ])  # fmt: skip
    if in_standard_space:
        combine_masks = Node(CombineMasks(), name="combine_masks", mem_gb=0.5)
        workflow.connect([
            (inputnode, combine_masks, [("mask_files", "mask_files")]),
            (combine_runs, combine_masks, [("valid_mask_file", "valid_mask_file")]),
            (combine_masks, outputnode, [("mask_file", "brain_mask")]),
            (combine_runs, outputnode, [("transform_file", "t1w_to_mni305")]),
        ])  # fmt: skip
        return workflow
    check = Node(CheckCoregistration(), name="check_coregistration", mem_gb=1.0)
    workflow.connect([
        (inputnode, check, [("t1w", "reference_file")]),
        (combine_runs, check, [
            ("mean_file", "source_file"),
            ("valid_mask_file", "mask_file"),
            ("transform_file", "transform_file"),
        ]),
        (check, outputnode, [("report_file", "coregistration_report")]),
    ])  # fmt: skip
    return workflow
