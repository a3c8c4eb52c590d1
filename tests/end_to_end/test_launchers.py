"""Training started by srun, by torchrun and by Lightning itself: one run folder, one way to go on."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from bimcvr.cli import main
from bimcvr.run_folder import choose_run
from helpers.cli import environment, newest_run

ROOT = Path(__file__).parents[2]
SBATCH = ROOT / "src/bimcvr/experiments/slurm/fit.sbatch"
# what SLURM tells a job of one machine with two tasks
JOB = {
    "SLURM_JOB_ID": "4711",
    "SLURM_JOB_NAME": "bimcvr",
    "SLURM_NNODES": "1",
    "SLURM_NTASKS": "2",
    "SLURM_NTASKS_PER_NODE": "2",
    "SLURM_CPUS_PER_TASK": "1",
    "MASTER_ADDR": "127.0.0.1",
    "PYTHON": sys.executable,
}
# drops its own options and starts each task with its number, as srun does
SRUN = """#!/bin/bash
while [[ "$1" == --* ]]; do shift; done
trap 'kill $(jobs -p) 2>/dev/null' TERM
for task in $(seq 0 $((SLURM_NTASKS - 1))); do
  SLURM_PROCID=$task SLURM_LOCALID=$task SLURM_NODEID=0 "$@" &
  tasks+=($!)
done
for task in "${tasks[@]}"; do wait "$task" || exit 1; done
"""


@pytest.fixture
def cluster(tmp_path: Path, unused_port: int) -> dict[str, str]:
    """An environment with a stand-in for srun, and for scontrol, which notes what it was asked."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "srun").write_text(SRUN)
    (tools / "scontrol").write_text(f'#!/bin/bash\necho "$@" >> {tmp_path}/asked\n')
    for tool in tools.iterdir():
        tool.chmod(0o755)
    return {**environment(), **JOB, "MASTER_PORT": str(unused_port), "PATH": f"{tools}:{os.environ['PATH']}"}


# the file asks for GPUs; flags after it ask for what is here
ON_CPU = ["--trainer.accelerator", "cpu", "--trainer.sync_batchnorm", "false", "--trainer.precision", "32-true"]


def folders(runs: Path) -> list[Path]:
    return sorted(runs.glob("*/*"))


def test_the_sbatch_file_is_bash_and_its_command_parses(cluster: dict[str, str], tiny_config: list[str]) -> None:
    assert subprocess.run(["bash", "-n", str(SBATCH)], check=False).returncode == 0
    text = SBATCH.read_text()
    assert "#SBATCH --requeue\n" in text
    assert "#SBATCH --signal=B:USR1@300\n" in text
    one = {**cluster, "SLURM_NTASKS": "1"}
    joined = [f"--config={tiny_config[1]}", *tiny_config[2:]]
    # the experiment's file says cpu and 32-true, the overlay gpu and bf16-mixed
    for options, precision in ((tiny_config, "bf16-mixed"), ([*joined, "--trainer.precision", "16-mixed"], "16-mixed")):
        done = subprocess.run(
            ["bash", str(SBATCH), *options, "--print_config"],
            cwd=ROOT,
            env=one,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        for line in (
            "devices: '2'",
            "sync_batchnorm: true",
            "ckpt_path: last",
            "gradient_as_bucket_view: true",
            "experiment: tiny",
            "accelerator: gpu",
            f"precision: {precision}",
        ):
            assert line in done.stdout, line


@pytest.mark.slow
def test_a_job_is_requeued_and_goes_on_in_its_folder(
    cluster: dict[str, str], tiny_config: list[str], tmp_path: Path
) -> None:
    words = ["bash", str(SBATCH), *tiny_config, *ON_CPU, "--trainer.max_epochs"]
    job = subprocess.Popen(
        [*words, "400"],
        cwd=ROOT,
        env=cluster,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    deadline = time.monotonic() + 180
    while (
        not list((tmp_path / "runs").glob("*/*/checkpoints/last.ckpt"))
        and time.monotonic() < deadline
        and job.poll() is None
    ):
        time.sleep(0.1)
    assert job.poll() is None, job.stderr and job.stderr.read().decode()
    os.kill(job.pid, signal.SIGUSR1)  # to the batch shell alone
    deadline = time.monotonic() + 180
    while not (tmp_path / "asked").is_file() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert (tmp_path / "asked").read_text() == "requeue 4711\n"
    assert job.poll() is None, "the training goes on until SLURM ends it"
    os.killpg(job.pid, signal.SIGKILL)
    job.wait()
    last = next((tmp_path / "runs").glob("*/*/checkpoints/last.ckpt"))
    epochs = torch.load(last, weights_only=True)["epoch"] + 1
    again = subprocess.run(
        [*words, str(epochs + 1)], cwd=ROOT, env=cluster, capture_output=True, text=True, check=False, timeout=120
    )
    assert again.returncode == 0, again.stderr
    assert len(folders(tmp_path / "runs")) == 1
    assert again.stdout.count("run folder:") == 1
    assert torch.load(last, weights_only=True)["epoch"] == epochs


@pytest.mark.slow
def test_torchrun_makes_one_run_folder(tiny_config: list[str], tmp_path: Path, unused_port: int) -> None:
    words = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc-per-node",
        "2",
        "--master-port",
        str(unused_port),
        "-m",
        "bimcvr",
        "fit",
        *tiny_config,
        "--trainer.devices",
        "2",
        "--trainer.strategy",
        "ddp",
        "--trainer.max_epochs",
        "1",
    ]
    done = subprocess.run(words, env=environment(), capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert len(folders(tmp_path / "runs")) == 1
    assert (newest_run(tmp_path / "runs") / "checkpoints/best.ckpt").is_file()


@pytest.mark.parametrize("name", ["RANK", "SLURM_PROCID", "NODE_RANK"])
def test_only_the_first_process_makes_the_folder(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "3")
    folder, checkpoint = choose_run("fit", "last", tmp_path, "x", 0)
    assert checkpoint is None
    assert not folder.exists()
    monkeypatch.setenv(name, "0")
    assert choose_run("fit", "last", tmp_path, "x", 0)[0].is_dir()


def test_an_unknown_option_after_the_overlay_is_refused(
    tiny_config: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    overlay = ["--config", str(ROOT / "src/bimcvr/experiments/bimcv_r/eight_gpus.yaml"), "--trainer.devises", "2"]
    assert main(["fit", *tiny_config, *overlay]) == 1
    assert "trainer.devices" in capsys.readouterr().err
