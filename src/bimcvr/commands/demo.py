"""The verb `demo`: the whole pipeline on a phantom cohort: make it, train, test, search."""

import time
from collections.abc import Sequence
from pathlib import Path

from bimcvr.atomic_files import replacing
from bimcvr.commands.stdout import say
from bimcvr.extras import require_extra

QUERY = "large right pleural effusion"
CONFIG = (Path("experiments/phantom/base.yaml"), Path("experiments/phantom/quick.yaml"))


def demo(
    out: Path = Path("demo"),
    config: Sequence[Path] = (),
    patients: int = 2000,
    seed: int = 0,
) -> int:
    """Make a phantom cohort, train on it, test, index it, and search it with one sentence.

    Args:
        out: where the result is written: a folder for cohort, cache, runs and pictures; what is there already is used
            again.
        config: a YAML file of settings; repeat the option for several files, of which the last one decides. They are
            those of `fit`; by default experiments/phantom/base.yaml and quick.yaml.
        patients: how many patients the phantom cohort has.
        seed: the seed of random numbers, of cohort and training.
    """
    from bimcvr.cli import main
    from bimcvr.run_folder import newest_checkpoint

    require_extra("search")  # before minutes go into training
    if not config:
        require_extra("minilm")
    began = time.perf_counter()
    which = f"{patients}-{seed}"  # in every name: another size or seed shares nothing with this one
    cohort, index, runs = out / f"phantom-{which}", out / f"index-{which}", out / "runs"
    options = [word for path in config or CONFIG for word in ("--config", str(path))]
    options += ["--data.manifest", str(cohort / "manifest.csv"), "--experiment", f"demo-{which}", "--runs", str(runs)]
    options += ["--seed_everything", str(seed)]
    for title, words in (
        (
            "1/4 a cohort of phantom CTs with reports",
            ["phantom", str(cohort), "--patients", str(patients), "--seed", str(seed)],
        ),
        ("2/4 train", ["fit", *options, "--checkpoint", "last"]),
        ("3/4 test", ["test", *options, "--checkpoint", "best"]),
    ):
        say(f"\n=== {title} ===", flush=True)
        code = main(words)
        if code:
            return code
    run = newest_checkpoint("best", runs / f"demo-{which}", seed).parent.parent
    manifest = ["--manifest", str(run / "manifest.csv"), "--root", str(cohort)]
    say(f'\n=== 4/4 index the test split, search: "{QUERY}" ===', flush=True)
    # the run's manifest has the split; the volumes that training cached lie beside the cohort's
    code = main(
        [
            "index",
            "--out",
            str(index),
            "--checkpoint",
            str(run / "checkpoints/best.ckpt"),
            *manifest,
            "--split",
            "test",
            "--cache",
            str(cohort / "cache"),
        ]
    )
    if code:
        return code
    _search(index, out / f"demo-{which}.png")
    words = ["evaluate", str(run / "embeddings.npz"), *manifest, "--html", str(out / f"result-{which}.html")]
    say(f"\na page on the result, its failures with pictures: python -m bimcvr {' '.join(words)}")
    say(
        f"{(time.perf_counter() - began) / 60:.1f} minutes in all. The search page on this index:\n\n  python -m bimcvr"
        f" serve {index}"
    )
    return 0


def _search(index: Path, picture: Path) -> None:
    """Print the five studies closest to the query, as the verb `search` does, and draw their middle slices."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    from rich.console import Console

    from bimcvr.data.reading.volume import read_volume
    from bimcvr.data.slice_pictures import CHEST_WINDOW, middle_slices
    from bimcvr.search.index.reader import Index
    from bimcvr.search.output.terminal import format_results
    from bimcvr.search.query.encoder import load_search_model
    from bimcvr.search.query.searcher import Searcher

    with Index.open(index) as opened:
        results = Searcher(opened, load_search_model(opened)).text(QUERY, top=5)
        Console(highlight=False).print(format_results(results))
        hits = results.hits
        volumes = [read_volume(Path(opened.row(hit.study_id).source)) for hit in hits]
    figure, axes = plt.subplots(3, len(hits), figsize=(3 * len(hits), 8.5))
    for column, (hit, volume) in enumerate(zip(hits, volumes, strict=True)):
        for row, (image, aspect) in enumerate(middle_slices(volume.hu, volume.spacing)):
            axes[row, column].imshow(image, cmap="gray", vmin=CHEST_WINDOW[0], vmax=CHEST_WINDOW[1], aspect=aspect)
            axes[row, column].set_axis_off()
        title = [f"{hit.rank}. {hit.study_id}", f"score {hit.score:.3f}", *hit.labels]
        axes[0, column].set_title("\n".join(title), fontsize=8, va="bottom")
    figure.suptitle(
        f'Phantom (synthetic data): top five of the test split for "{QUERY}"; left of picture = patient\'s right',
        fontsize=11,
    )
    figure.tight_layout()
    with replacing(picture) as temporary:
        figure.savefig(temporary, dpi=80)
    plt.close(figure)
