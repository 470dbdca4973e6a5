"""Run one step as a Slurm job, and record how it went.

`python -m conceptrsa.pipelines.execution.slurm_job NODE_FILE SHA256 OUTCOME_FILE`

The node is a pickle, as nipype has no other form for one. It is loaded only if it is, byte for
byte, what the submitting process wrote: that process gives the SHA-256 to Slurm with the job, so
that whoever can write into the working folder cannot have a job run something else by this file.
"""

import hashlib
import json
import logging
import pickle
import resource
import socket
import sys
from pathlib import Path
from traceback import format_exc

from conceptrsa.bids_config.errors import StepError
from conceptrsa.bids_config.writing import atomic_path
from conceptrsa.pipelines.execution.worker_pool import NIPYPE_LOGGERS


def run_step(node_file: Path, sha256: str, outcome_file: Path) -> None:
    """Run a node and write what became of it.

    Parameters
    ----------
    node_file : Path
        Pickle of the node and of nipype's `updatehash`, by `SlurmJobsPlugin`.
    sha256 : str
        Of the pickle, as it was written.
    outcome_file : Path
        JSON: `traceback`, text or null, and `host`. It appears whole or not at all, and only
        when the step has ended.

    Raises
    ------
    StepError
        The pickle is not the one that was written; nothing of it is loaded.
    """
    content = node_file.read_bytes()
    if hashlib.sha256(content).hexdigest() != sha256:
        raise StepError(f"{node_file} was changed after it was submitted; run the command again")
    # Not data from outside: these bytes were pickled by the submitting process of this same user,
    # and their SHA-256 came with the job by Slurm itself, not by the folder that they lay in.
    node, updatehash = pickle.loads(content)
    traceback = None
    try:
        node.run(updatehash=updatehash)
    except Exception:
        traceback = format_exc()
        print(traceback, file=sys.stderr)
    with atomic_path(outcome_file) as temporary:
        temporary.write_text(json.dumps({"traceback": traceback, "host": socket.gethostname()}))
    own, others = (
        resource.getrusage(who).ru_maxrss / 1000
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    print(f"peak memory: {own:.0f} MB, largest process started by it: {others:.0f} MB")


def _log_to_stderr() -> None:
    logging.basicConfig(format="%(asctime)s %(name)s %(levelname)s: %(message)s")
    for name in NIPYPE_LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [], True


if __name__ == "__main__":
    _log_to_stderr()
    run_step(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
