"""The losses against slow formulas, and their gradients over two processes against one."""

import math

import pytest
import torch
import torch.multiprocessing as mp
from torch import Tensor

from bimcvr.models.losses.gather import gather
from bimcvr.models.losses.label_losses import keyword_similarity, presence_loss
from bimcvr.models.losses.objective import Objective, similarity, soft_target, view_consistency
from helpers.forks import fork_server


def features(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def cosine(a: Tensor, b: Tensor) -> float:
    return float(a @ b / a.norm() / b.norm())


def test_equation_7_as_printed() -> None:
    image, text = features(0, 5, 7), features(1, 5, 7)
    slow = 0.0
    for i in range(5):
        scores = [math.exp(cosine(image[i], text[k])) for k in range(5)]
        slow -= math.log(scores[i] / sum(scores)) / 5
    assert similarity(image, text, 1.0).item() == pytest.approx(slow, rel=1e-6)
    assert Objective(consistency=0)(image, image, image, text)["loss"].item() == pytest.approx(slow, rel=1e-6)


def test_equation_4_sums_over_features_and_means_over_the_batch() -> None:
    z1, z2 = features(2, 3, 4), features(3, 3, 4)
    slow = sum(0.5 * float(((z1[i] - z2[i]) ** 2).sum()) for i in range(3)) / 3
    assert view_consistency(z1, z2).item() == pytest.approx(slow, rel=1e-6)
    assert view_consistency(z1 / 100, z2 / 100) < view_consistency(z1, z2) / 1000  # shrinking Z meets it
    assert view_consistency(z1 / 100, z2 / 100, normalise=True).item() == pytest.approx(
        view_consistency(z1, z2, normalise=True).item(), rel=1e-4
    )


def test_equation_8_weighs_its_parts() -> None:
    z1, z2, image, text = (features(seed, 4, 6) for seed in range(4))
    parts = Objective(consistency=0.3, alpha=2.0, discrimination=0.5, symmetric=True, temperature=0.2)(
        z1, z2, image, text
    )
    expected = 2.0 * parts["L_sim"] + 0.3 * parts["L_mse"] + 0.5 * parts["L_dis"]
    assert parts["loss"].item() == pytest.approx(expected.item(), rel=1e-6)
    both = (similarity(image, text, 5.0) + similarity(text, image, 5.0)) / 2
    assert parts["L_sim"].item() == pytest.approx(both.item(), rel=1e-6)


@pytest.mark.parametrize(("weights", "absent"), [({"consistency": 0.0}, "L_mse"), ({"discrimination": 0.0}, "L_dis")])
def test_a_loss_without_weight_gives_no_gradient(weights: dict[str, float], absent: str) -> None:
    z1, z2 = features(0, 4, 6).requires_grad_(), features(1, 4, 6).requires_grad_()
    losses = Objective(**{"consistency": 0.0, **weights})(z1, z2, features(2, 4, 6).requires_grad_(), features(3, 4, 6))
    assert absent not in losses
    losses["loss"].backward()
    assert z1.grad is None


def test_cutmix_targets() -> None:
    target = soft_target(torch.tensor([1, 2, 2]), torch.tensor([0.75, 0.5, 1.0]))
    assert target.tolist() == [[0.75, 0.25, 0], [0, 0.5, 0.5], [0, 0, 1]]
    image, text = features(0, 3, 5), features(1, 3, 5)
    plain = [similarity(image, text, 1.0, torch.eye(3)), similarity(image, text, 1.0)]
    assert plain[0].item() == pytest.approx(plain[1].item())
    logits = (torch.nn.functional.normalize(image, dim=-1) @ torch.nn.functional.normalize(text, dim=-1).T).log_softmax(
        -1
    )
    slow = -(0.75 * logits[0, 0] + 0.25 * logits[0, 1] + 0.5 * logits[1, 1] + 0.5 * logits[1, 2] + logits[2, 2]) / 3
    assert similarity(image, text, 1.0, target).item() == pytest.approx(slow.item(), rel=1e-6)


def test_the_temperature_stays_in_its_bounds() -> None:
    objective = Objective(temperature=0.07, learn_temperature=True)
    assert objective.scale.item() == pytest.approx(1 / 0.07)
    objective.log_scale.data.fill_(9.0)
    objective.after_step()
    assert objective.scale.item() == pytest.approx(100)
    assert not Objective().log_scale.requires_grad


def test_a_double_report_is_no_negative() -> None:
    image, text = features(0, 4, 5), features(1, 4, 5)
    same = torch.eye(4, dtype=torch.bool)
    same[0, 2] = same[2, 0] = True
    slow = 0.0
    for i, allowed in enumerate([[0, 1, 3], [0, 1, 2, 3], [1, 2, 3], [0, 1, 2, 3]]):
        scores = {k: math.exp(2 * cosine(image[i], text[k])) for k in allowed}
        slow -= math.log(scores[i] / sum(scores.values())) / 4
    assert similarity(image, text, 2.0, same_report=same).item() == pytest.approx(slow, rel=1e-6)
    text.requires_grad_()
    (similarity(image[:1], text, 2.0, same_report=same[:1])).backward()
    assert text.grad is not None
    assert text.grad[2].abs().max() == 0
    # cutmix's partner stays a right answer, though it is a double
    target = soft_target(torch.tensor([2, 1, 2, 3]), torch.tensor([0.5, 1, 1, 1]))
    assert similarity(image, text, 2.0, target, same).item() < 100


def test_a_label_draws_all_volumes_that_bear_it() -> None:
    prompts, volumes = features(0, 4, 6), features(1, 5, 6)
    bears = torch.tensor([[1, 0, 0, 1], [1, 0, 1, 1], [0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 1, 1]], dtype=torch.bool)
    slow = []
    for label in (0, 2):  # nobody bears label 1 and everybody label 3: neither asks anything
        scores = [math.exp(3 * cosine(prompts[label], volume)) for volume in volumes]
        right = [place for place in range(5) if bears[place, label]]
        slow.append(-sum(math.log(scores[place] / sum(scores)) for place in right) / len(right))
    assert keyword_similarity(prompts, volumes, bears, 3.0).item() == pytest.approx(sum(slow) / 2, rel=1e-6)
    assert keyword_similarity(prompts, volumes, bears[:, [1, 3, 1, 3]], 3.0).item() == 0


def test_a_volume_is_asked_for_each_label() -> None:
    prompts, volumes, bears = features(0, 3, 6), features(1, 4, 6), features(5, 4, 3) > 0
    slow = 0.0
    for i, volume in enumerate(volumes):
        for j, prompt in enumerate(prompts):
            chance = 1 / (1 + math.exp(-(4 * cosine(volume, prompt) - 1)))
            slow -= math.log(chance if bears[i, j] else 1 - chance) / 12
    found = presence_loss(prompts, volumes, bears, torch.tensor(4.0), torch.tensor(-1.0))
    assert found.item() == pytest.approx(slow, rel=1e-6)
    without = Objective(keywords=1.0)
    assert not any("presence" in name for name in without.state_dict()), "earlier checkpoints have no such weights"


def test_autocast_changes_neither_loss_nor_gradient() -> None:
    objective = Objective(**{**WEIGHTS, "temperature": 0.02})
    text = features(1, 8, 32)
    image = (text + 0.3 * features(0, 8, 32)).requires_grad_()
    bears = features(5, 8, 3) > 0
    found = []
    for half in (False, True):
        image.grad = None
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            loss = objective(image, image * 1.1, image, text, None, None, features(3, 3, 32), bears)["loss"]
        loss.backward()
        assert image.grad is not None
        found.append((loss.detach(), image.grad.clone()))
    assert found[0][0] > 0
    torch.testing.assert_close(found[1], found[0])


BEARS = torch.tensor([[1, 0], [0, 1], [1, 1], [0, 0]], dtype=torch.bool)
SAME = torch.eye(4, dtype=torch.bool) | torch.tensor(
    [[0, 0, 1, 0], [0, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]], dtype=torch.bool
)
WEIGHTS = {"symmetric": True, "temperature": 0.1, "learn_temperature": True, "discrimination": 0.3}
WEIGHTS |= {"keywords": 0.4, "presence": 0.6}


def losses_of(objective: Objective, tower: Tensor, image: Tensor, text: Tensor, same: Tensor = SAME) -> Tensor:
    # pairs (0, 1) and (2, 3) are mixed, each within its own process
    partner = torch.arange(len(image)) ^ 1
    target = soft_target(partner, torch.full((len(image),), 0.7))
    prompts = features(7, 2, 5) @ tower
    return objective(image @ tower, (image + 1) @ tower, image @ tower, text @ tower, target, same, prompts, BEARS)[
        "loss"
    ]


def _worker(rank: int, port: int, queue: "mp.Queue[list[Tensor]]") -> None:
    torch.distributed.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    objective = Objective(**WEIGHTS)
    tower = features(9, 5, 5).requires_grad_()
    half = slice(2 * rank, 2 * rank + 2)
    losses_of(objective, tower, features(0, 4, 5)[half], features(1, 4, 5)[half], SAME[half]).backward()
    grads = [tower.grad, *(number.grad for number in objective.parameters())]
    for grad in grads:
        torch.distributed.all_reduce(grad)
        grad /= 2
    assert gather(torch.full((1, 2), float(rank))).tolist() == [[0, 0], [1, 1]]
    if rank == 0:
        queue.put([grad.tolist() for grad in grads])
    torch.distributed.destroy_process_group()


def test_two_processes_have_one_processs_gradient(unused_port: int) -> None:
    queue: mp.Queue[list[Tensor]] = fork_server().Queue()
    context = mp.start_processes(_worker, args=(unused_port, queue), nprocs=2, join=False, start_method="forkserver")
    tower_grad, *own_grads = queue.get(timeout=120)
    context.join()
    objective = Objective(**WEIGHTS)
    tower = features(9, 5, 5).requires_grad_()
    losses_of(objective, tower, features(0, 4, 5), features(1, 4, 5)).backward()
    assert tower.grad is not None
    torch.testing.assert_close(torch.tensor(tower_grad), tower.grad, rtol=0, atol=1e-6)
    assert len(own_grads) == 3  # log_scale, presence_log_scale, presence_offset
    for number, grad in zip(objective.parameters(), own_grads, strict=True):
        torch.testing.assert_close(torch.tensor(grad), number.grad, rtol=0, atol=1e-6)
