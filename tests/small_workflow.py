"""A workflow of the participant level's shape whose steps take no time, executed in one process."""

from collections import Counter
from hashlib import sha256
from pathlib import Path
from traceback import format_exception

from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    Directory,
    File,
    InputMultiObject,
    SimpleInterface,
    TraitedSpec,
    traits,
)
from nipype.interfaces.utility import Merge
from nipype.pipeline.engine import Workflow

from conceptrsa.bids_config.writing import atomic_path
from conceptrsa.pipelines.execution.tidying import KEPT_BYTES, TidyingPlugin
from conceptrsa.pipelines.workflows.steps import MapNode, Node

BYTES = 2 * KEPT_BYTES
N_RUNS = 3


class BlendInput(BaseInterfaceInputSpec):
    in_files = InputMultiObject(File(exists=True), mandatory=True)
    word = traits.Str()
    n_out = traits.Int(1, usedefault=True)
    target = traits.Str()
    base_dir = Directory()
    log_file = File(nohash=True)


class BlendOutput(TraitedSpec):
    out_file = File(exists=True)
    out_files = traits.List(File(exists=True))
    small_file = File(exists=True)


class Blend(SimpleInterface):
    """Write files that depend on every byte of the input files, and note that it was done."""

    input_spec = BlendInput
    output_spec = BlendOutput

    def _run_interface(self, runtime):
        read = b"".join(Path(path).read_bytes() for path in self.inputs.in_files)
        seed = sha256(read + str(self.inputs.word).encode()).hexdigest()
        out = [Path(runtime.cwd) / f"out{number}.bin" for number in range(self.inputs.n_out)]
        if self.inputs.target:
            out = [Path(self.inputs.base_dir) / self.inputs.target]
        for number, path in enumerate(out):
            with atomic_path(path) as temporary:
                temporary.write_text((f"{seed}{number}" * BYTES)[:BYTES])
        small = Path(runtime.cwd) / "small.txt"
        small.write_text(seed[:8])
        with Path(self.inputs.log_file).open("a") as log:
            log.write(Path(runtime.cwd).name + "\n")
        self._results["out_file"] = str(out[0])
        self._results["out_files"] = [str(path) for path in out]
        self._results["small_file"] = str(small)
        return runtime


class InProcessPlugin(TidyingPlugin):
    """Executes each node when it is submitted; fails in place of the step named `fails_at`."""

    def __init__(self, fails_at: str = "") -> None:
        super().__init__()
        self._results: dict[int, dict] = {}
        self._fails_at = fails_at
        self.peak_bytes = 0

    def _submit_job(self, node, updatehash=False):
        taskid = len(self._results)
        try:
            if node.name == self._fails_at:
                raise InterruptedError(node.name)
            node.run()
            self._results[taskid] = {"traceback": None, "result": None}
        except Exception as error:
            self._results[taskid] = {"traceback": format_exception(error), "result": None}
        root = Path(node.config["logging"]["log_directory"])
        sizes = [path.stat().st_size for path in root.rglob("*.bin")]
        self.peak_bytes = max(self.peak_bytes, sum(sizes))
        return taskid

    def _get_result(self, taskid):
        return self._results[taskid]

    def _clear_task(self, taskid):
        pass


def make_workflow(folder: Path, word: str = "") -> Workflow:
    """corrected (each run) -> aligned (all) -> estimated (each) -> pooled -> merged -> saved."""
    raw = folder / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    files = [raw / f"run{number}.bin" for number in range(N_RUNS)]
    for number, file in enumerate(files):
        if not file.exists():
            file.write_bytes(bytes([number]) * 100)
    log = str(folder / "log.txt")
    (folder / "work").mkdir(exist_ok=True)
    (folder / "results").mkdir(exist_ok=True)

    def each(name, **inputs):
        return MapNode(Blend(log_file=log, **inputs), iterfield=["in_files"], name=name)

    corrected = each("corrected")
    corrected.inputs.in_files = [str(file) for file in files]
    aligned = Node(Blend(n_out=N_RUNS, log_file=log), name="aligned")
    mask = Node(Blend(log_file=log), name="mask")
    estimated = each("estimated", word=word)
    pooled = Node(Blend(n_out=2, log_file=log), name="pooled")
    merged = Node(Merge(2), name="merged")
    saved = MapNode(
        Blend(log_file=log, base_dir=str(folder / "results")),
        iterfield=["in_files", "target"],
        name="saved",
    )
    saved.inputs.target = [f"result{number}.bin" for number in range(3)]
    workflow = Workflow("conceptrsa_wf", base_dir=str(folder / "work"))
    workflow.connect([
        (corrected, aligned, [("out_file", "in_files")]),
        (aligned, mask, [("small_file", "in_files")]),
        (aligned, estimated, [("out_files", "in_files")]),
        (estimated, pooled, [("out_file", "in_files")]),
        (pooled, merged, [("out_files", "in1")]),
        (mask, merged, [("out_file", "in2")]),
        (merged, saved, [("out", "in_files")]),
    ])  # fmt: skip
    workflow.config["execution"].update(
        poll_sleep_duration="0", create_report="false", crashdump_dir=str(folder)
    )
    workflow.config["logging"] = {"log_directory": str(folder / "work")}
    return workflow


def execute(
    folder: Path, keep_work: bool = False, word: str = "", fails_at: str = ""
) -> tuple[Counter, int]:
    """Execute it; what was done how often, and the most bytes of intermediate files."""
    log = folder / "log.txt"
    log.unlink(missing_ok=True)
    workflow = make_workflow(folder, word)
    plugin = InProcessPlugin(fails_at)
    plugin.start_from(folder / "work", keep_work)
    try:
        workflow.run(plugin=plugin)
    except Exception:
        if not fails_at:
            raise
    return Counter(log.read_text().split() if log.exists() else ()), plugin.peak_bytes


def results(folder: Path) -> dict[str, str]:
    """Checksums of what was saved."""
    return {
        path.name: sha256(path.read_bytes()).hexdigest()
        for path in sorted((folder / "results").iterdir())
    }
