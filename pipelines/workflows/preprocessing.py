"""From raw runs to volumes that agree in time and space, and their place in the anatomy."""

from nipype.interfaces.utility import IdentityInterface
from nipype.pipeline.engine import Workflow

from conceptrsa.pipelines.workflows.engines import Engine
from conceptrsa.pipelines.workflows.preprocessed import init_preprocessed_wf
from conceptrsa.pipelines.workflows.steps import MapNode, Node


def connect_preprocessing(
    workflow: Workflow,
    inputnode: Node,
    engine: Engine,
    *,
    is_preprocessed: bool,
    corrects_slices: bool,
    n_threads: int,
    keep_work: bool,
) -> tuple[Workflow, Workflow]:
    """Add what comes before the linear model to a subject's workflow.

    Parameters
    ----------
    workflow : Workflow
        Of the subject.
    inputnode : Node
        Its inputs, as `conceptrsa.pipelines.workflows.participant.init_participant_wf` has them.
    engine : Engine
        Chooses the interfaces.
    is_preprocessed : bool
        Whether the runs were preprocessed and lie in T1w space.
    corrects_slices : bool
        Whether raw runs are corrected for the timing of their slices.
    n_threads, keep_work
        As for `init_realignment_wf`.

    Returns
    -------
    tuple of Workflow
        What gives the realigned runs, and what gives their place in the anatomy: one and the same
        for runs that were preprocessed.
    """
    if is_preprocessed:
        preprocessed_wf = init_preprocessed_wf()
        workflow.connect([
            (inputnode, preprocessed_wf, [
                ("bold_files", "inputnode.bold_files"),
                ("confounds_files", "inputnode.confounds_files"),
                ("t1w", "inputnode.t1w"),
            ]),
        ])  # fmt: skip
        return preprocessed_wf, preprocessed_wf
    # Without slice timing realignment takes the raw files, which stay whatever happens.
    realignment_wf = init_realignment_wf(engine, n_threads, keep_work or not corrects_slices)
    coregistration_wf = init_coregistration_wf(engine)
    workflow.connect([
        (inputnode, coregistration_wf, [("t1w", "inputnode.t1w")]),
        (realignment_wf, coregistration_wf, [("outputnode.boldref", "inputnode.boldref")]),
    ])  # fmt: skip
    if not corrects_slices:
        workflow.connect([
            (inputnode, realignment_wf, [("bold_files", "inputnode.bold_files")]),
        ])  # fmt: skip
        return realignment_wf, coregistration_wf
    slice_timing_wf = init_slice_timing_wf(engine)
    workflow.connect([
        (inputnode, slice_timing_wf, [
            ("bold_files", "inputnode.bold_files"),
            ("slice_times", "inputnode.slice_times"),
            ("slice_axes", "inputnode.slice_axes"),
            ("repetition_times", "inputnode.repetition_times"),
            ("reference_times", "inputnode.reference_times"),
        ]),
        (slice_timing_wf, realignment_wf, [("outputnode.bold_files", "inputnode.bold_files")]),
    ])  # fmt: skip
    return realignment_wf, coregistration_wf


def init_slice_timing_wf(engine: Engine, name: str = "slice_timing_wf") -> Workflow:
    """Correct every run for the time at which each of its slices was acquired.

    Parameters
    ----------
    engine : Engine
        Chooses the interface.
    name : str
        Name of the workflow.

    Inputs
    ------
    bold_files
        Raw runs, list of 4D images.
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
        The runs, as if every slice had been acquired at the reference time.
    """
    workflow = Workflow(name=name)
    fields = ["bold_files", "slice_times", "slice_axes", "repetition_times", "reference_times"]
    inputnode = Node(IdentityInterface(fields=fields), name="inputnode")
    outputnode = Node(IdentityInterface(fields=["bold_files"]), name="outputnode")
    slice_timing = MapNode(
        engine.slice_timing(),
        iterfield=["in_file", "slice_times", "slice_axis", "repetition_time", "reference_time"],
        name="slice_timing",
        mem_gb=1.0,
    )
    workflow.connect([
        (inputnode, slice_timing, [
            ("bold_files", "in_file"),
            ("slice_times", "slice_times"),
            ("slice_axes", "slice_axis"),
            ("repetition_times", "repetition_time"),
            ("reference_times", "reference_time"),
        ]),
        (slice_timing, outputnode, [("out_file", "bold_files")]),
    ])  # fmt: skip
    return workflow


def init_realignment_wf(
    engine: Engine,
    n_threads: int = 1,
    keep_work: bool = True,
    name: str = "realignment_wf",
) -> Workflow:
    """Realign all runs of a subject together, to their mean, and reslice them once.

    Parameters
    ----------
    engine : Engine
        Chooses the interface.
    n_threads : int
        Processors that the step may use; the result does not depend on it.
    keep_work : bool
        Whether each input run stays when it has been resliced; nothing else may take them if not.
    name : str
        Name of the workflow.

    Inputs
    ------
    bold_files
        Runs in session and run order.

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
    """
    workflow = Workflow(name=name)
    inputnode = Node(IdentityInterface(fields=["bold_files"]), name="inputnode")
    outputs = ["bold_files", "motion_files", "boldref", "valid_mask"]
    outputnode = Node(IdentityInterface(fields=outputs), name="outputnode")
    realign = Node(engine.realign(), name="realign", n_procs=n_threads, mem_gb=1.5)
    realign.inputs.n_threads = n_threads
    realign.inputs.uses_up_inputs = not keep_work
    workflow.connect([
        (inputnode, realign, [("bold_files", "in_files")]),
        (realign, outputnode, [
            ("out_files", "bold_files"),
            ("motion_files", "motion_files"),
            ("mean_file", "boldref"),
            ("valid_mask_file", "valid_mask"),
        ]),
    ])  # fmt: skip
    return workflow


def init_coregistration_wf(engine: Engine, name: str = "coregistration_wf") -> Workflow:
    """Estimate where the mean EPI lies in the anatomical image; nothing is resampled.

    Parameters
    ----------
    engine : Engine
        Chooses the interface.
    name : str
        Name of the workflow.

    Inputs
    ------
    boldref
        Mean EPI (the source).
    t1w
        Anatomical image (the reference).

    Outputs
    -------
    bold_to_t1w
        4x4 matrix, EPI world (RAS, mm) to T1w world.
    report
        JSON: the metric of every start and what was concluded from it.
    """
    workflow = Workflow(name=name)
    inputnode = Node(IdentityInterface(fields=["boldref", "t1w"]), name="inputnode")
    outputnode = Node(IdentityInterface(fields=["bold_to_t1w", "report"]), name="outputnode")
    coregister = Node(engine.coregister(), name="coregister", mem_gb=1.0)
    workflow.connect([
        (inputnode, coregister, [("boldref", "source_file"), ("t1w", "reference_file")]),
        (coregister, outputnode, [
            ("transform_file", "bold_to_t1w"),
            ("report_file", "report"),
        ]),
    ])  # fmt: skip
    return workflow
