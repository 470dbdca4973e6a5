"""From runs that fMRIPrep preprocessed to what the linear model takes."""

from nipype.interfaces.utility import IdentityInterface
from nipype.pipeline.engine import Workflow

from conceptrsa.interfaces.python.fmriprep_inputs import CombineRuns, ImportRun
from conceptrsa.interfaces.python.preprocess import CheckCoregistration
from conceptrsa.pipelines.workflows.steps import MapNode, Node


def init_preprocessed_wf(name: str = "preprocessed_wf") -> Workflow:
    """Take runs that lie in T1w space in place of slice timing, realignment, coregistration.

    Its outputs are those of `init_realignment_wf` and of `init_coregistration_wf` together. Nothing
    is interpolated and no engine has a part in it. Whether EPI and T1w lie on one another is looked
    at all the same.

    Parameters
    ----------
    name : str
        Name of the workflow.

    Inputs
    ------
    bold_files
        Per run, 4D image in T1w space, all in one grid.
    confounds_files
        Per run, TSV with the motion parameters (mm, rad) among its columns.
    t1w
        Anatomical image in T1w space.

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
    report
        JSON: the evidence that they lie on the T1w, and warnings.
    """
    workflow = Workflow(name=name)
    inputs = ["bold_files", "confounds_files", "t1w"]
    inputnode = Node(IdentityInterface(fields=inputs), name="inputnode")
    outputs = ["bold_files", "motion_files", "boldref", "valid_mask", "bold_to_t1w", "report"]
    outputnode = Node(IdentityInterface(fields=outputs), name="outputnode")
    import_runs = MapNode(
        ImportRun(), iterfield=["in_file", "confounds_file"], name="import_runs", mem_gb=0.5
    )
    combine_runs = Node(CombineRuns(), name="combine_runs", mem_gb=0.5)
    check = Node(CheckCoregistration(), name="check_coregistration", mem_gb=1.0)
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
        (inputnode, check, [("t1w", "reference_file")]),
        (combine_runs, check, [
            ("mean_file", "source_file"),
            ("valid_mask_file", "mask_file"),
            ("transform_file", "transform_file"),
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
        (check, outputnode, [("report_file", "report")]),
    ])  # fmt: skip
    return workflow
