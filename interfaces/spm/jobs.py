"""SPM's batch modules as nipype knows them, and scripts that are proved to have run.

nipype knows how the inputs of SPM's batch modules are called; how it runs them hides failures: the
exit code of SPM is not looked at, an error that SPM reports can end in success, a skipped module
raises an error without the message, and constructing an interface launches MATLAB. So the job is
nipype's, and running it is done here.

SPM's batch system reports what it did in lines such as ``Done    'Slice Timing'``. A process that
crashed, an error that a wrapper swallowed and a module that was skipped for lack of input all
leave that line out, so it is required for every module, beside exit code 0 and the script's own
last line.
"""

import re
import signal
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, ClassVar

from nipype.interfaces import spm
from nipype.interfaces.base import isdefined, traits

from conceptrsa.bids_config.errors import StepError
from conceptrsa.interfaces.programs import Written, real, run_logged
from conceptrsa.interfaces.python.step import Step
from conceptrsa.interfaces.spm.find_spm import DEFAULT_TIME_LIMIT, SpmLauncher, find_launcher

LOOK_AT_LOG = (
    "; see the .log beside it, free some space if the disk is full, and run the same command again."
)
FINISHED = "conceptrsa: script finished"
_ERROR = "conceptrsa: SPM stopped with an error: "
_VERSION = re.compile(r"^conceptrsa: (\S+) release (\S+)$", re.MULTILINE)
_FAILED = re.compile(
    r"Failed  '[^'\n]*'\n(.*?)(?=^[^\n]*\d\d:\d\d:\d\d - |\Z)", re.MULTILINE | re.DOTALL
)
_SIGNAL_EXIT = 128  # a shell adds it to the number of the signal that killed its child
_LONGEST_MESSAGE = 600

_HEAD = """\
try
  [spm_name, spm_release] = spm('Ver');
  fprintf('conceptrsa: %s release %s\\n', spm_name, spm_release);
  spm('defaults', 'fmri');
  spm_jobman('initcfg');
  spm_get_defaults('cmdline', true);
  % Voxels at a time: SPM's gigabyte is held several times over, and takes longer.
  spm_get_defaults('stats.maxmem', 2^28);
  % MATLAB takes every processor unless told otherwise; other interpreters lack the function.
  try, maxNumCompThreads({n_threads}); end
"""
_TAIL = f"""\
  fprintf('{FINISHED}\\n');
catch problem
  fprintf('{_ERROR}%s\\n', problem.message);
  for level = 1:numel(problem.stack)
    fprintf('  in %s, line %d\\n', problem.stack(level).name, problem.stack(level).line);
  end
  exit(1);
end
"""


class SpmJob:
    """Mixin for a nipype SPM interface: its job as text, and `run_in`, which cannot lie."""

    module: ClassVar[str]
    """Name of the batch module as SPM prints it."""

    @property
    def version(self) -> None:
        """Unknown here: nipype would launch MATLAB to ask for it."""
        return None

    def job(self) -> str:
        """Statements that set up the batch job and run it."""
        contents = deepcopy(self._parse_inputs())  # type: ignore[attr-defined]
        prefix = f"jobs{{1}}.spm.{self.jobtype}.{self.jobname}"  # type: ignore[attr-defined]
        statements = self._generate_job(prefix, contents[0])  # type: ignore[attr-defined]
        return f"clear jobs\n{statements}spm_jobman('run', jobs);\n"

    def run_in(
        self,
        launcher: SpmLauncher,
        folder: Path,
        outputs: Sequence[Path],
        *,
        after: str = "",
        n_threads: int = 1,
    ) -> None:
        """Run the job, with statements after it, and make sure that it did its work.

        Parameters
        ----------
        launcher : SpmLauncher
        folder : Path
            Where SPM runs and its script and log are written, under the name of the module.
        outputs : sequence of Path
            Files that it must write, whether they are there already or not.
        after : str
            MATLAB statements.
        n_threads : int
            Processors for SPM's matrix products.

        Raises
        ------
        StepError
            If the module was not done, or an output was not written.
        """
        name = "".join(letter if letter.isalnum() else "_" for letter in self.module.lower())
        text = compose(self.job(), after, n_threads=n_threads)
        written = Written(outputs)
        run_script(launcher, text, folder, name, self.module, n_threads)
        written.require(f"SPM's step '{self.module}'", LOOK_AT_LOG)


class SliceTimingJob(SpmJob, spm.SliceTiming):
    """`spm_slice_timing`."""

    module = "Slice Timing"


class RealignJob(SpmJob, spm.Realign):
    """`spm_realign` and `spm_reslice`."""

    module = "Realign: Estimate & Reslice"


class CoregisterJob(SpmJob, spm.Coregister):
    """`spm_coreg`."""

    module = "Coregister: Estimate"


class DesignJob(SpmJob, spm.Level1Design):
    """`spm_run_fmri_spec`: the design of a first-level model."""

    module = "fMRI model specification"


class EstimateJob(SpmJob, spm.EstimateModel):
    """`spm_spm`: estimation of a first-level model."""

    module = "Model estimation"


class SpmStep(Step):
    """Runs SPM."""

    spm_command = traits.Str(
        nohash=True, desc="command that runs SPM, given 'script FILE.m'; default $SPMMCRCMD"
    )
    spm_version = traits.Str(desc="name and release; another one makes the step run again")
    time_limit = traits.Float(
        DEFAULT_TIME_LIMIT, usedefault=True, nohash=True, desc="of one SPM process (s)"
    )


def launcher_of(inputs: Any) -> SpmLauncher:
    """Give the launcher that a step's inputs name."""
    command = inputs.spm_command if isdefined(inputs.spm_command) else None
    return find_launcher(command, inputs.time_limit)


def compose(*parts: str, n_threads: int = 1) -> str:
    """Put statements between a head that readies SPM and a tail that reports how it went."""
    body = "\n".join(part.strip("\n") for part in parts if part.strip())
    head = _HEAD.replace("{n_threads}", str(n_threads))
    return f"{head}{body}\n{_TAIL}"


def run_script(
    launcher: SpmLauncher,
    text: str,
    folder: Path,
    name: str,
    module: str | None = None,
    n_threads: int = 1,
) -> str:
    """Write a script, have SPM run it, and make sure that it did.

    Parameters
    ----------
    launcher : SpmLauncher
        Command that runs it.
    text : str
        From `compose`.
    folder : Path
        Folder in which it runs, and in which script and log are written.
    name : str
        Name of the script, without `.m`.
    module : str, optional
        Name of the batch module that must have been done.
    n_threads : int
        Processors for SPM's matrix products.

    Returns
    -------
    str
        Output of SPM.

    Raises
    ------
    StepError
        If anything says, or does not say, that the work was done.
    """
    script, log = folder / f"{name}.m", folder / f"{name}.log"
    script.write_text(text)
    title = f"SPM's step '{module or name}'"
    code = run_logged(
        [*launcher.command, str(script)],
        folder,
        log,
        launcher.time_limit,
        n_threads,
        title=title,
        option="--spm-time-limit",
    )
    printed = log.read_text(errors="replace")
    fault = find_fault(printed, code, module)
    if fault is not None:
        raise StepError(f"{title} was not done: {fault} (SPM's messages: {real(log)})")
    return printed


def find_fault(printed: str, code: int, module: str | None = None) -> str | None:
    """Say what speaks against a script having done its work; None for nothing.

    Parameters
    ----------
    printed : str
        Output of SPM.
    code : int
        Exit code of its process.
    module : str, optional
        Name of the batch module that must have been done.
    """
    if _ERROR in printed or _FAILED.search(printed) is not None:
        return f"it stopped with the error: {_own_message(printed)}"
    killed_by = -code if code < 0 else code - _SIGNAL_EXIT
    if killed_by in (signal.SIGKILL, signal.SIGTERM):
        return (
            f"its process was killed (signal {killed_by}), perhaps for lack of memory; run the "
            "same command again to continue, with a smaller --nprocs"
        )
    if 0 < killed_by < 65:
        return f"its process crashed (signal {killed_by}): {_last_lines(printed)}"
    skipped = re.search(r"^.*Skipped.*$", printed, re.MULTILINE)
    if skipped is not None:
        return f"it was skipped for lack of input: '{skipped.group().strip()}'"
    if code != 0:
        return f"its process ended with exit code {code}: {_last_lines(printed)}"
    if module is not None and re.search(rf"Done\s+'{re.escape(module)}'", printed) is None:
        return f"it ended without a word that '{module}' was done: {_last_lines(printed)}"
    if FINISHED not in printed:
        return f"it ended before the last line of its script: {_last_lines(printed)}"
    return None


def read_version(launcher: SpmLauncher, folder: Path) -> str:
    """Name and release of the SPM that a launcher runs, such as 'SPM12 7771'.

    Raises
    ------
    StepError
        If it does not run.
    """
    printed = run_script(launcher, compose(), folder, "spm_version")
    found = _VERSION.search(printed)
    if found is None:
        raise StepError(f"SPM ({launcher.text()}) ran, but did not say its version.")
    return f"{found.group(1)} {found.group(2)}"


def _own_message(printed: str) -> str:
    """Give SPM's own message: what it prints below the module that failed, else of the error."""
    failed = _FAILED.search(printed)
    paragraph = "" if failed is None else failed.group(1).partition("\n\n")[0]
    lines = paragraph.splitlines()
    message = " ".join(line for line in lines if not line.startswith(("Error using", "In file")))
    return _shortened(message) or _shortened(printed.partition(_ERROR)[2])


def _last_lines(printed: str, most: int = 3) -> str:
    lines = [line.strip() for line in printed.splitlines() if line.strip()]
    return _shortened("; ".join(lines[-most:])) or "it printed nothing"


def _shortened(message: str) -> str:
    words = " ".join(message.split())
    return words if len(words) <= _LONGEST_MESSAGE else f"{words[:_LONGEST_MESSAGE]} ..."
