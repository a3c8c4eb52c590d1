"""Chunks, and all reports as negatives, in two processes under DDP: the gradients of one process in one pass."""

import warnings
from datetime import timedelta

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from bimcvr.contracts import Gallery
from bimcvr.models.losses.loss_inputs import LossInputs
from bimcvr.models.losses.objective import Objective, soft_target
from bimcvr.models.losses.training_targets import TrainingTargets
from bimcvr.models.retriever import Retriever
from bimcvr.models.volume.view_fusion import TokenAttention
from helpers.forks import fork_server
from helpers.toy_modules import HashText, PlainConv

ROWS = np.arange(10, 24)  # the batch is the first eight
WORDS = ["a b", "c d", "a b", "e f", "g h", "i j", "c d", "k l", "e f", "m n", "o p", "q r", "a b", "s t"]
LOSS = {
    "symmetric": True,
    "temperature": 0.1,
    "learn_temperature": True,
    "discrimination": 0.3,
    "consistency": 0.5,
    "keywords": 0.2,
    "double_reports": False,
    "all_reports": True,
}


class Step(nn.Module):
    """A training step as `forward`, where DDP looks for it."""

    def __init__(self, chunk_size: int | None) -> None:
        super().__init__()
        torch.manual_seed(0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.model = Retriever(
                PlainConv(),
                HashText(),
                fusion=TokenAttention(8),
                objective=Objective(**LOSS),
                embed_dim=12,
                chunk_size=chunk_size,
            ).double()
        gallery = Gallery(
            rows=ROWS,
            study_id=[str(row) for row in ROWS],
            group=np.arange(14),
            same_text=np.unique(WORDS, return_inverse=True)[1],
            elsewhere=np.zeros(14, bool),
            flagged=np.zeros(14, bool),
            patient=[str(row) for row in ROWS],
            labels=[frozenset({"nodule"} if row % 3 else {"effusion"}) for row in ROWS],
            description={},
        )
        reports = self.model.text_encoder(WORDS)
        self.model._inputs = LossInputs(
            self.model.objective, TrainingTargets(gallery), ("{}",), self.model.map_text, reports
        )

    def forward(self, positions: Tensor) -> Tensor:
        views = torch.rand(8, 2, 1, 12, 12, 12, generator=torch.Generator().manual_seed(3))[positions].double()
        target = soft_target(torch.arange(len(positions)) ^ 1, torch.full((len(positions),), 0.7)).double()
        texts = [WORDS[position] for position in positions]
        return self.model.training_forward(views, texts, target, torch.as_tensor(ROWS)[positions]).losses["loss"]


def gradients(step: nn.Module) -> dict[str, Tensor]:
    return {name.removeprefix("module."): one.grad for name, one in step.named_parameters() if one.grad is not None}


def _worker(rank: int, port: int, folder: str) -> None:
    address = f"tcp://127.0.0.1:{port}"
    dist.init_process_group("gloo", init_method=address, rank=rank, world_size=2, timeout=timedelta(seconds=60))
    step = DistributedDataParallel(Step(chunk_size=2))
    step(torch.arange(4) if rank == 0 else torch.arange(4, 8)).backward()
    if rank == 0:
        torch.save(gradients(step), f"{folder}/together.pt")
    dist.destroy_process_group()


def test_two_processes_have_one_processs_gradients(unused_port: int, tmp_path: str) -> None:
    fork_server()
    mp.start_processes(_worker, args=(unused_port, str(tmp_path)), nprocs=2, start_method="forkserver")
    together = torch.load(f"{tmp_path}/together.pt", weights_only=True)
    alone = Step(chunk_size=None)
    alone(torch.arange(8)).backward()
    assert together.keys() == gradients(alone).keys()
    for name, gradient in gradients(alone).items():
        assert gradient.abs().max() > 1e-6, name
        assert (together[name] - gradient).abs().max() < 1e-12, name
