"""`--plugin` and `--use-plugin`: read as plain data, and nothing in them is passed over."""

import json
from pathlib import Path

import pytest

from conceptrsa.bids_config.errors import InputError
from conceptrsa.pipelines.cli import main, run_command
from conceptrsa.pipelines.cli.run_command import participant_options
from conceptrsa.pipelines.execution.plugin_settings import PluginSettings, read_plugin
from conceptrsa.pipelines.participant_options import ParticipantOptions, SlurmSettings

OF_DEMO = ("--dataset-config", "demo")


def write(folder: Path, text: str, name: str = "plugin.yml") -> Path:
    file = folder / name
    file.write_text(text)
    return file


def test_without_either_the_other_options_decide() -> None:
    assert read_plugin(None, None) == PluginSettings()
    assert read_plugin("Linear", None) == PluginSettings(n_procs=1)
    assert read_plugin("SLURM", None) == PluginSettings(slurm=SlurmSettings())


def test_a_file_for_fmriprep_can_be_used(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        "plugin: LegacyMultiProc\n"
        "plugin_args: {maxtasksperchild: 1, memory_gb: 60, n_procs: 10, raise_insufficient: false}",
    )
    assert read_plugin(None, file) == PluginSettings(10, 60.0)


def test_arguments_of_slurm_in_yaml_and_json(tmp_path: Path) -> None:
    script = write(tmp_path, "#!/bin/bash\nmodule load x\n", "head.sh")
    expected = SlurmSettings("--partition=short --comment='two words'", "#!/bin/sh", 100)
    yaml = write(
        tmp_path,
        "plugin: SLURM\n"
        "plugin_args:\n"
        "  sbatch_args: --partition=short --comment='two words'\n"
        "  template: '#!/bin/sh'\n"
        "  max_jobs: 100\n",
    )
    assert read_plugin("SLURM", yaml).slurm == expected
    content = {"plugin": "SLURM", "plugin_args": {"template": str(script)}}
    json_file = write(tmp_path, json.dumps(content, indent="\t"), "plugin.json")
    slurm = read_plugin(None, json_file).slurm
    assert slurm is not None and slurm.template == "#!/bin/bash\nmodule load x"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("plugin: SGE", "no plugin 'SGE'"),
        ("plugin: [SLURM]", "no plugin"),
        ("- SLURM", "'plugin' and 'plugin_args'"),
        ("plugin: SLURM\nargs: {}", "'plugin' and 'plugin_args'"),
        ("plugin: SLURM\nplugin_args: 3", "names and values"),
        (
            "plugin: SLURM\nplugin_args: {n_procs: 3}",
            "key 'n_procs': the allowed keys are sbatch",
        ),
        ("plugin: SLURM\nplugin_args: {sbatch_args: [a]}", "sbatch_args = ['a'] must be a text"),
        ('plugin: SLURM\nplugin_args: {sbatch_args: "\'"}', "cannot be split"),
        ("plugin: SLURM\nplugin_args: {sbatch_args: --clusters=x}", "set SLURM_CLUSTERS"),
        ("plugin: SLURM\nplugin_args: {template: absent.sh}", "neither a readable file"),
        ("plugin: SLURM\nplugin_args: {max_jobs: 0}", "max_jobs = 0 must be"),
        ("plugin_args: {n_procs: true}", "n_procs = True must be a whole number"),
        ("plugin_args: {memory_gb: .nan}", "memory_gb = nan must be"),
        ("plugin_args: {raise_insufficient: true}", "runs alone"),
        ("plugin: Linear\nplugin_args: {n_procs: 3}", "Linear has no argument 'n_procs'"),
        ("plugin: {", "not plain YAML or JSON"),
        ("\x00", "not plain YAML or JSON"),
    ],
)
def test_what_a_file_may_not_say_is_told_with_the_file(
    text: str, said: str, tmp_path: Path
) -> None:
    file = write(tmp_path, text)
    with pytest.raises(InputError) as caught:
        read_plugin(None, file)
    assert str(file) in str(caught.value) and said in str(caught.value)


def test_a_file_is_data_and_runs_nothing(tmp_path: Path) -> None:
    made = tmp_path / "made"
    file = write(tmp_path, f"plugin: !!python/object/apply:os.mkdir ['{made}']\n")
    with pytest.raises(InputError, match="not plain YAML or JSON"):
        read_plugin(None, file)
    assert not made.exists()


def test_a_missing_file_and_two_plugins_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        read_plugin(None, tmp_path / "absent.yml")
    with pytest.raises(InputError, match="leave --plugin out"):
        read_plugin("MultiProc", write(tmp_path, "plugin: SLURM"))


def test_slurm_without_its_commands_is_exit_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    out = str(tmp_path / "out")
    arguments = ["run", str(tmp_path), out, "participant", *OF_DEMO, "--plugin", "SLURM"]
    assert main(arguments) == 2
    assert "needs Slurm's command sbatch" in capsys.readouterr().err


def test_more_processes_for_a_step_than_for_all_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "out")
    arguments = ["run", str(tmp_path), out, "participant", *OF_DEMO, "--omp-nthreads", "2"]
    arguments += ["--nprocs", "1"]
    assert main(arguments) == 2
    assert "--omp-nthreads 2 is more than the 1 processors" in capsys.readouterr().err


def test_a_step_on_slurm_does_not_ask_for_the_processors_of_this_machine() -> None:
    assert ParticipantOptions(n_procs=8).threads_per_step(1) == 8
    on_slurm = ParticipantOptions(n_procs=8, slurm=SlurmSettings())
    assert on_slurm.threads_per_step(1) == 1


def test_steps_plan_with_what_the_machine_or_container_has(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(run_command, "available_processors", lambda: 3)
    monkeypatch.setattr(run_command, "available_memory", lambda: 2_000_000_000)
    options = participant_options({}, None, None)
    assert (options.n_procs, options.memory_mb) == (3, 1800)
    assert not caplog.records
    assert participant_options({"memory_mb": 4000}, None, None).memory_mb == 4000
    assert "4.0 GB together" in caplog.text
    assert "has 2.0 GB" in caplog.text
    monkeypatch.setattr(run_command, "available_memory", lambda: 64_000_000_000)
    assert participant_options({}, None, None).memory_mb == 4000
