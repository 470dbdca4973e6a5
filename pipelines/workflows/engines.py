"""Interfaces of each step: the engine chooses them, never the shape of the workflow."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from conceptrsa.bids_config.schema import GlmConfig
from conceptrsa.pipelines.participant_options import RunModel
from conceptrsa.pipelines.workflows.steps import MapNode, Node

SPM_GB = 1.2


@dataclass(frozen=True)
class SpmSettings:
    """Settings of SPM and of its model of the runs.

    Attributes
    ----------
    command : str or None
        Command that runs SPM; None: as `conceptrsa.interfaces.spm.find_spm.find_launcher` finds it.
    version : str or None
        What it is, such as 'SPM12 7771'; None where it was not asked.
    time_limit : float or None
        Of one SPM process (s); None: the interfaces' own.
    run_model : {'concatenated', 'sessions'}
        All runs as one session of SPM, as in the paper, or one session a run.
    """

    command: str | None = None
    version: str | None = None
    time_limit: float | None = None
    run_model: RunModel = "concatenated"

    @property
    def inputs(self) -> dict[str, Any]:
        """Inputs that every SPM interface shares."""
        inputs = {
            "spm_command": self.command,
            "spm_version": self.version,
            "time_limit": self.time_limit,
        }
        return {name: value for name, value in inputs.items() if value is not None}


@dataclass(frozen=True)
class Engine:
    """The interfaces behind the steps that an engine may do in its own way.

    Attributes
    ----------
    slice_timing, realign, coregister : callable
        Each makes a fresh nipype interface; all engines' interfaces for a step share the names of
        the inputs and outputs that the workflows connect.
    spm : SpmSettings or None
        How SPM is run; None: the engine python.
    n_threads : int
        Processors for SPM's matrix products.
    """

    slice_timing: Callable[[], Any]
    realign: Callable[[], Any]
    coregister: Callable[[], Any]
    spm: SpmSettings | None = None
    n_threads: int = 1

    def init_spm_model_node(
        self,
        name: str,
        interface: Callable[..., Any],
        settings: GlmConfig,
        n_volumes: int,
        iterfield: Sequence[str] = (),
        **inputs: Any,
    ) -> Node:
        """Make a node in which SPM estimates a linear model, or one for each item of a list.

        Parameters
        ----------
        name : str
            Of the node.
        interface : callable
            Interface of SPM.
        settings : GlmConfig
            What all engines' models are told.
        n_volumes : int
            Of the model: decides the memory.
        iterfield : sequence of str
            Inputs that are lists with an item a model; none: one model.
        **inputs
            Further inputs of the interface.
        """
        assert self.spm is not None
        step = interface(spm_threads=self.n_threads, **self.spm.inputs, **inputs)
        resources = {"n_procs": self.n_threads, "mem_gb": spm_memory_gb(n_volumes)}
        node = (
            MapNode(step, iterfield=list(iterfield), name=name, **resources)
            if iterfield
            else Node(step, name=name, **resources)
        )
        set_model(node, settings)
        return node


def get_engine(name: str, spm: SpmSettings, n_threads: int = 1) -> Engine:
    """Look an engine up by name.

    Parameters
    ----------
    name : {'python', 'spm'}
    spm : SpmSettings
        For the engine spm.
    n_threads : int
        Processors for SPM's matrix products.
    """
    if name == "python":
        from conceptrsa.interfaces.python.preprocess import Coregister, Realign, SliceTiming

        return Engine(SliceTiming, Realign, Coregister)
    from conceptrsa.interfaces.spm.preprocessing_jobs import (
        SpmCoregister,
        SpmRealign,
        SpmSliceTiming,
    )

    return Engine(
        partial(SpmSliceTiming, **spm.inputs),
        partial(SpmRealign, **spm.inputs),
        partial(SpmCoregister, **spm.inputs),
        spm,
        n_threads,
    )


def set_model(estimate: Node, settings: GlmConfig) -> None:
    """Tell a node that estimates a model what all engines' models are told."""
    for name in ("high_pass_seconds", "noise_model", "baseline", "slice_time_reference"):
        setattr(estimate.inputs, name, getattr(settings, name))


def spm_memory_gb(n_volumes: int) -> float:
    """Memory of SPM estimating one model: its own, and six matrices of volumes x volumes.

    Measured on Octave with 546 to 3026 volumes (`docs/performance.md`).
    """
    return SPM_GB + 6 * 8 * n_volumes**2 / 1e9
