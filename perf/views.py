"""Training views by TorchIO and by their twins for the training device, in turn, on the CPU.

    python perf/views.py [--size 96 96 96] [--runs 9] [--threads 1]

Per study: window and two views of the kind of experiments/bimcv_r/strong.yaml. Also how far the twins' affine lies from
TorchIO's, and the bytes that are sent to a device.
"""

import argparse
import time
from statistics import median

import SimpleITK
import torch
import torchio
from synthetic_cache import SPACING, smooth_volume

from bimcvr.data.loading.device_views import make_views
from bimcvr.data.loading.view_draws import draw_view
from bimcvr.data.loading.views import apply_view, apply_window

WINDOW = (-1000.0, 1000.0)
AFFINE = torchio.RandomAffine(scales=0.06, degrees=5, translation=10)
NOISE = torchio.RandomNoise(std=(0.0, 0.03))
VIEWS = {"affine": AFFINE, "noise": NOISE, "affine and noise": torchio.Compose([AFFINE, NOISE])}


def main() -> None:
    """Time both in turn, and print medians and ratios of pairs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=3, default=(96, 96, 96))
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(options.threads)
    size = tuple(options.size)
    hu = smooth_volume(size, 0)

    def by_torchio(view: torchio.Transform, seed: int) -> torch.Tensor:
        volume = apply_window(hu, WINDOW)
        return torch.stack([apply_view(volume, SPACING, view, seed + number)[None] for number in range(2)])

    def by_twin(view: torchio.Transform, seed: int) -> torch.Tensor:
        draws = [draw_view(view, size, SPACING, seed + number) for number in range(2)]
        return make_views(apply_window(hu, WINDOW)[None], [draws])[0]

    print(f"{size}, {options.threads} threads, a study of two views, {options.runs} pairs after one that is not timed")
    for name, view in VIEWS.items():
        rows = []
        for run in range(options.runs + 1):
            taken = []
            for make in (by_torchio, by_twin) if run % 2 else (by_twin, by_torchio):
                wall, cpu = time.perf_counter(), time.process_time()
                make(view, run)
                taken.append((time.perf_counter() - wall, time.process_time() - cpu))
            rows.append(taken if run % 2 else taken[::-1])
        rows = rows[1:]
        for kind, position in (("wall", 0), ("CPU", 1)):
            ours, theirs = (median(row[place][position] for row in rows) * 1000 for place in (1, 0))
            ratio = median(row[1][position] / row[0][position] for row in rows)
            print(f"{name:<18}{kind:>5}: TorchIO {theirs:7.1f} ms, twin {ours:7.1f} ms, twin / TorchIO {ratio:.2f}")
    wrong = [
        float(
            ((by_torchio(AFFINE, seed) - by_twin(AFFINE, seed)) * 2000)[by_torchio(AFFINE, seed) > 0.1].square().mean()
        )
        for seed in range(0, 8, 2)
    ]
    print(f"affine: {max(wrong) ** 0.5:.4f} HU rms from TorchIO's, worst of {len(wrong)} studies")
    print(f"sent a study: {8 * hu.size / 1e6:.1f} MB as float32 views, {2 * hu.size / 1e6:.1f} MB as int16")


if __name__ == "__main__":
    main()
