"""The verb `embed`: a scan or a manifest in, vectors of one or several models out, with a receipt of how."""

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bimcvr.commands.stdout import say
from bimcvr.errors import UserError
from bimcvr.presets import FOLDER, preset

_PEERS = Path("experiments/peers")
_NO_REPORT = "no report was given"


def embed(
    volume: Path,
    model: str | None = None,
    text: str | None = None,
    out: Path = Path("embeddings"),
    root: Path | None = None,
    cache: Path | None = None,
    trust: str = "",
) -> int:
    """Write the vectors of a scan, or of a manifest's volumes and reports, by one or several models.

    Each model gets a file `embeddings_<model>.npz` for `evaluate`, `index` and `--compare`. It holds a receipt: the
    axes, grid and window that the model was given, the form of the texts, and whose weights were used; the receipt is
    printed too.

    Args:
        volume: a volume file or a DICOM folder; or a manifest, a CSV file.
        model: a model, or several with commas between: a published one (colipri, spectre, merlin, ctclip), a checkpoint
            (runs/…/checkpoints/best.ckpt), or the YAML file of an experiment that needs no training.
        text: the text: the report of the scan, or any other to compare it with; a manifest has its own.
        out: where the result is written: a folder; a scan gets a manifest.csv there, for `index` and `evaluate`.
        root: the folder that the manifest's `volume` column is relative to; the manifest's own by default.
        cache: the folder of volumes resized to the model's grid; `cache` beside the manifest by default, and nothing
            is kept of a single scan.
        trust: classes, modules or packages of others whose code a checkpoint may run, with commas between.
    """
    from bimcvr.atomic_files import require_writable

    if model is None:
        raise UserError(
            f"embed needs --model: {', '.join(_shipped())}, a checkpoint, or the YAML file of an experiment."
        )
    if not volume.exists():
        raise UserError(f"There is no scan or manifest at {volume}. Give a volume file, a DICOM folder or a CSV file.")
    is_manifest = volume.suffix.lower() == ".csv"
    if is_manifest and text is not None:
        raise UserError("--text is the report of one scan; a manifest has its reports in a column. Leave it out.")
    models = {_name(word): word.strip() for word in model.split(",")}
    if len(models) < len(model.split(",")):
        raise UserError(f"--model {model}: two of these would be written to one file. Embed with one after the other.")
    out.mkdir(parents=True, exist_ok=True)
    require_writable(out, "--out")
    manifest = volume if is_manifest else _manifest_of_scan(volume, text, out)
    for name, word in models.items():
        with tempfile.TemporaryDirectory(prefix=".embed-", dir=out) as work:
            kept = cache if is_manifest or cache else Path(work) / "cache"
            made = _predict(_words_of_model(word, Path(work)), manifest, root, kept, trust, Path(work))
            path = out / f"embeddings_{name}.npz"
            if is_manifest or text is not None:
                made.replace(path)
            else:
                _write_without_text(made, path)
        _print_receipt(name, path, text)
    if not is_manifest:
        say(f"manifest: {manifest}")
    return 0


def _name(word: str) -> str:
    """Return the name of a model's file: of a checkpoint the experiment and the run."""
    path = Path(word.strip())
    if path.suffix == ".ckpt" and len(path.parts) > 3:
        return f"{path.parts[-4]}-{path.parts[-3]}"
    return path.stem


def _words_of_model(word: str, work: Path) -> list[str]:
    """Return the options of `predict` that name a model."""
    path = Path(word)
    if path.suffix == ".ckpt":
        return ["--checkpoint", str(_run_beside(path, work))]
    if path.suffix in (".yaml", ".yml"):
        return ["--config", str(preset(path))]
    shipped = _shipped()
    if word not in shipped:
        from bimcvr.suggest import did_you_mean

        raise UserError(
            f"There is no model '{word}'.{did_you_mean(word, shipped)} Give one of {', '.join(shipped)}, a checkpoint"
            " (.ckpt) or the YAML file of an experiment."
        )
    return ["--config", str(preset(_PEERS / "base.yaml")), "--config", str(preset(_PEERS / f"{word}.yaml"))]


def _shipped() -> list[str]:
    """Return the published models that have an experiment of their own."""
    names = (file.stem for file in (FOLDER / "peers").glob("*.yaml"))
    return sorted(name for name in names if not name.endswith(("base", "head")))


def _run_beside(checkpoint: Path, work: Path) -> Path:
    """Link a checkpoint and its config into a folder of this call: nothing is written into the run."""
    from bimcvr.run_folder import config_beside

    config = config_beside(str(checkpoint))
    if config is None:
        raise UserError(
            f"There is no checkpoint in a run folder at {checkpoint}. Give the checkpoints/best.ckpt of a run."
        )
    copy = work / "runs/checkpoint/run/checkpoints" / checkpoint.name
    copy.parent.mkdir(parents=True)
    copy.symlink_to(checkpoint.resolve())
    shutil.copyfile(config, copy.parents[1] / "config.yaml")
    return copy


def _manifest_of_scan(scan: Path, text: str | None, out: Path) -> Path:
    """Write the manifest of a single scan."""
    import pandas as pd

    from bimcvr.atomic_files import write_text

    name = scan.resolve().name
    for suffix in (".gz", ".nii", ".mha", ".mhd", ".nrrd", ".nhdr", ".zip"):
        name = name.removesuffix(suffix)
    row = {"study_id": name, "patient_id": name, "volume": str(scan.resolve()), "report": text or _NO_REPORT}
    write_text(out / "manifest.csv", pd.DataFrame([row]).to_csv(index=False))
    return out / "manifest.csv"


def _predict(model: list[str], manifest: Path, root: Path | None, cache: Path | None, trust: str, work: Path) -> Path:
    """Embed the rows of a manifest; returns the file that `predict` has written below `work`."""
    from bimcvr.training.lightning_cli import train

    given = {"--data.root": root, "--data.cache": cache, "--trust": trust or None}
    options = [word for option, value in given.items() if value is not None for word in (option, str(value))]
    if "--checkpoint" not in model:
        options += ["--runs", str(work / "runs")]
    # one device: a second process would be this command anew
    quiet = ["--trainer.logger=false", "--trainer.enable_model_summary=false", "--trainer.devices=1"]
    with _as_told_to_predict():
        train(["predict", *model, "--data.manifest", str(manifest), *options, *quiet])
    (path,) = (work / "runs").rglob("embeddings_*.npz")
    return path


@contextmanager
def _as_told_to_predict() -> Iterator[None]:
    """Turn the answer to a missing checkpoint into one about `embed`."""
    try:
        yield
    except UserError as error:
        if "needs a checkpoint" in str(error):
            raise UserError(
                "this experiment is to be trained first: give the checkpoint of its run as --model, not its YAML file."
            ) from error
        raise


def _write_without_text(made: Path, path: Path) -> None:
    """Write the embeddings of a scan that has no report without `text`, so that nothing scores the stand-in."""
    import numpy as np

    from bimcvr.atomic_files import replacing

    with np.load(made, allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files if name not in ("text", "report_hash")}
    with replacing(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, **arrays)


def _print_receipt(name: str, path: Path, text: str | None) -> None:
    import json

    import numpy as np

    with np.load(path, allow_pickle=False) as stored:
        image, told = stored["image"], json.loads(str(stored["provenance"][0]))
        words = stored["text"] if "text" in stored.files else None
    say(f"\n{name}: {len(image)} {'volume' if len(image) == 1 else 'volumes'}, vectors of {image.shape[1]} numbers")
    for part, facts in {**told["receipts"], "data": told["data"]}.items():
        for line in _lines(facts):
            say(f"  {part:<8}{line}")
    if text is not None and words is not None:
        cosine = float((image[0] / np.linalg.norm(image[0])) @ (words[0] / np.linalg.norm(words[0])))
        say(f"  cosine of the scan and the text: {cosine:.4f}")
    say(f"  embeddings: {path}" + ("" if words is not None else " (no `text`: give --text for `index` and `evaluate`)"))


def _lines(facts: dict[str, Any], under: str = "") -> Iterator[str]:
    """Yield `name: value` of each fact; hashes are cut, and what is said elsewhere is left out."""
    for key, value in facts.items():
        name = f"{under}{key}".replace("_", " ")
        if key in ("data", "random", "dim") or value in (None, {}, ""):
            continue
        if isinstance(value, dict):
            yield from _lines(value, f"{key}, ")
        else:
            text = str(value)
            yield f"{name}: {text[:12] + '…' if re.fullmatch('[0-9a-f]{64}', text) else text}"
