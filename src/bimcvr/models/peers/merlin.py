"""Merlin (Blankemeier, Kumar et al. 2026, https://doi.org/10.1038/s41586-026-10181-8): a ResNet of abdominal CT."""

from typing import Any

from torch import Tensor, nn

from bimcvr.contracts import Features
from bimcvr.errors import UserError
from bimcvr.extras import require_extra
from bimcvr.hub import first_line
from bimcvr.models.peers.first_token import FirstToken
from bimcvr.models.peers.text import PeerText
from bimcvr.models.peers.volume import PeerVolume, TowerInput, one_token, with_version
from bimcvr.models.peers.weights import PeerWeights, drawn_at_random, load, read_tensors, refuse_reduced

MODEL, FILE = "stanfordmimi/Merlin", "i3_resnet_clinical_longformer_best_clip_04-02-2024_23-21-36_epoch_99.pt"
LANGUAGE_MODEL = "yikuan8/Clinical-Longformer"
_PHENOTYPES, _FEATURES, _SPACE, _TOKENS = 1692, 2048, 512, 1024


class MerlinVolume(PeerVolume):
    """Merlin's volume tower: 224 × 224 × 160 voxels of 1.5 × 1.5 × 3 mm → one vector (B, 512), or tokens (B, N, 2048).

    It was trained on abdomens. The package's own constructor downloads three sets of weights and is not called.

    Args:
        model: `stanfordmimi/Merlin`, the folder that `hf download` makes of it, or its checkpoint.
        projected: see `PeerVolume`.
        random_weights: nothing published is loaded, and results say "random weights".
        reduced: the `blocks` of the four stages of a smaller network, and the `size` of its volumes; with random
            weights only.

    Raises:
        MissingExtra: merlin-vlm is not installed.
        UserError: the file does not hold the weights of this model.
        WeightsAbsent: it is not here and cannot be downloaded.
    """

    peer, licence = "Merlin", "MIT"

    def __init__(
        self,
        model: str = MODEL,
        projected: bool = True,
        random_weights: bool = False,
        reduced: dict[str, list[int]] | None = None,
    ) -> None:
        require_extra("peers")
        from merlin.models.i3res import I3ResNet
        from torchvision.models.resnet import Bottleneck, ResNet

        refuse_reduced(reduced, random_weights)
        weights = PeerWeights(model, [FILE], random_weights)
        given = {"blocks": [3, 8, 36, 3], "size": [160, 224, 224], **(reduced or {})}
        with drawn_at_random():
            tower = I3ResNet(ResNet(Bottleneck, given["blocks"]), class_nb=_PHENOTYPES, conv_class=True)
        for path in weights.files:
            load(tower, read_tensors(path, "encode_image.i3_resnet."), path)
        up, back, across = given["size"]
        wanted = TowerInput("RAS", (up, back, across), (3.0, 1.5, 1.5))
        super().__init__(
            tower, wanted, weights, with_version("merlin-vlm"), projected, _SPACE if projected else _FEATURES
        )

    def encode(self, prepared: Tensor) -> Features:
        """Encode (B, 1, R, A, S) in [0, 1]."""
        # stage by stage: its own forward checkpoints activations, which it does not need and which torch warns of
        net = self.tower
        x = prepared.permute(0, 1, 4, 2, 3).repeat(1, 3, 1, 1, 1)
        for stage in (net.conv1, net.bn1, net.relu, net.maxpool, net.layer1, net.layer2, net.layer3, net.layer4):
            x = stage(x)
        if self.projected:
            return one_token(net.contrastive_head(net.avgpool(x)).flatten(1))
        tokens = x.flatten(2).transpose(1, 2)
        return Features(tokens.mean(1), tokens)


class MerlinText(PeerText):
    """Merlin's text tower: Clinical-Longformer, its first token, projected → (B, 512), length 1.

    Args:
        model: as for `MerlinVolume`; the checkpoint holds both towers.
        language_model: `yikuan8/Clinical-Longformer`, or its folder: config and tokenizer, not its own weights.
        sentences: read a text sentence by sentence and take the mean of the sentences' vectors.
        random_weights: nothing published is loaded, and results say "random weights".
        cache_size: how many vectors are kept in memory.

    Raises:
        MissingExtra: merlin-vlm is not installed.
        UserError: a file does not hold the weights of this model.
        WeightsAbsent: it is not here and cannot be downloaded.
    """

    peer, licence = "Merlin", "MIT"

    def __init__(
        self,
        model: str = MODEL,
        language_model: str = LANGUAGE_MODEL,
        sentences: bool = False,
        random_weights: bool = False,
        cache_size: int = 100_000,
    ) -> None:
        require_extra("peers")
        weights = PeerWeights(model, [FILE], random_weights)
        with drawn_at_random():
            language, tokenizer, files = _longformer(language_model)
            head = nn.Linear(language.config.hidden_size, _SPACE)
        tower = FirstToken(language, head)
        tower.load_published(weights, "encode_text.text_encoder.", "encode_text.linear_layer.")
        form = {
            "form": "lower case, words and punctuation apart",
            "max_tokens": _TOKENS,
            "pooling": "first token",
            "language_model": files,
        }
        super().__init__(tower, _SPACE, weights, with_version("merlin-vlm"), form, sentences, cache_size)
        self._tokenizer = tokenizer

    def encode(self, texts: list[str]) -> Tensor:
        """Compute the vectors of n texts → (n, E), without the cache."""
        from merlin.models.build import sanitize_report

        tokens = self._tokenizer(
            [sanitize_report(text) for text in texts],
            return_tensors="pt",
            padding=True,
            truncation=True,
            max_length=_TOKENS,
        )
        vectors: Tensor = self.tower({name: value.to(self.device) for name, value in tokens.items()})
        return vectors


def _longformer(model: str) -> tuple[Any, Any, PeerWeights]:
    """Build, with random weights, the language model that a folder's config describes, and read its tokenizer."""
    from transformers import AutoTokenizer, LongformerConfig, LongformerModel

    files = PeerWeights(model, ["config.json", "vocab.json", "merges.txt"], random_weights=False)
    folder = files.files[0].parent
    try:
        language = LongformerModel(LongformerConfig.from_pretrained(folder))
        return language, AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False), files
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder} is not the folder of a Longformer: {first_line(error)}.") from error
