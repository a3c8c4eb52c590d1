"""Small models of peers, random weights saved as theirs are published, and volumes stored in the ways of real files."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch

WORDS = "there is no a large right left pleural effusion nodule findings impressions . , :".split()
COLIPRI = {
    "input_size": 32,
    "image_embed_dim": 144,
    "projection_dim": 48,
    "model.image_encoder.backbone.eva_depth": 2,
    "model.image_encoder.backbone.eva_numheads": 2,
}
COLIPRI_TEXT = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 12, "intermediate_size": 64}
SPECTRE = {"backbone": "vit_tiny_patch16_128", "combiner": "feat_vit_tiny"}
MERLIN: dict[str, list[int]] = {"blocks": [1, 1, 1, 1], "size": [32, 48, 64]}

# where the file's own x, y and z axes point, in LPS: columns of the direction matrix
LPS = np.eye(3)
RAS = np.diag([-1.0, -1.0, 1.0])
_TURN = np.radians(10.0)
OBLIQUE = np.array([[np.cos(_TURN), -np.sin(_TURN), 0], [np.sin(_TURN), np.cos(_TURN), 0], [0, 0, 1]]) @ np.array(
    [[0, 0, -1.0], [1, 0, 0], [0, -1, 0]]
)
STORAGES = {"LPS": LPS, "RAS": RAS, "oblique": OBLIQUE}


def write_volume(path: Path, hu: np.ndarray, spacing: tuple[float, float, float], direction: np.ndarray) -> Path:
    """Write canonical HU (D, H, W) as a NIfTI whose axes point elsewhere.

    Args:
        path: the file.
        hu: inferior to superior, anterior to posterior, right to left.
        spacing: mm along the same axes.
        direction: the file's direction matrix.
    """
    order, mm = [0, 0, 0], [0.0, 0.0, 0.0]
    turned = []
    for axis in range(3):  # of the file: x, y, z
        world = int(np.abs(direction[:, axis]).argmax())  # 0 across, 1 back, 2 up
        order[axis], mm[axis] = 2 - world, spacing[2 - world]
        if direction[world, axis] < 0:
            turned.append(axis)
    stored = np.flip(hu.transpose(order), turned)
    image = sitk.GetImageFromArray(np.ascontiguousarray(stored.transpose(2, 1, 0)))
    image.SetSpacing(mm)
    image.SetDirection(direction.ravel().tolist())
    image.SetOrigin((-31.0, 17.0, 240.0))
    sitk.WriteImage(image, str(path))
    return path


def write_vocabulary(folder: Path) -> int:
    """Write CXR-BERT's vocab.txt, a small one; returns the number of its words."""
    folder.mkdir()
    letters = [f"{mark}{chr(code)}" for mark in ("", "##") for code in range(ord("a"), ord("z") + 1)]
    words = list(dict.fromkeys(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, *letters]))
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    return len(words)


def write_colipri(folder: Path) -> None:
    """Write model.safetensors with both towers, and the folder of the tokenizer."""
    from colipri import get_model
    from colipri.model.text import TextEncoder
    from colipri.pooling import AttentionPool1D
    from transformers import BertConfig, BertModel

    words = write_vocabulary(folder / "cxr-bert")
    torch.manual_seed(1)
    model = get_model(pretrained=False, image_only=True, **COLIPRI)
    bert = BertModel(BertConfig(vocab_size=words, **COLIPRI_TEXT), add_pooling_layer=False)
    model.text_encoder = TextEncoder(bert, AttentionPool1D(48, 12)).eval()
    model.save_weights(folder / "model.safetensors")


def write_spectre(folder: Path) -> None:
    """Write the five files of SPECTRE, the adapters without what they adapt, and the folder of the language model."""
    from spectre import SpectreImageFeatureExtractor
    from spectre.presets import BACKBONE_KWARGS, COMBINER_KWARGS
    from spectre.ssl.heads import SigLIPProjectionHead
    from spectre.utils import add_lora_adapters
    from transformers import Qwen3Model

    write_qwen3(folder / "qwen3")
    torch.manual_seed(2)
    extractor = SpectreImageFeatureExtractor(
        SPECTRE["backbone"], BACKBONE_KWARGS, None, SPECTRE["combiner"], COMBINER_KWARGS
    )
    language = Qwen3Model.from_pretrained(folder / "qwen3")
    add_lora_adapters(language, r=16, lora_alpha=64, lora_dropout=0.05)
    adapters = {name: torch.randn_like(value) / 10 for name, value in language.state_dict().items() if "lora_" in name}
    heads = [
        SigLIPProjectionHead(input_dim=2 * 192, output_dim=512),
        SigLIPProjectionHead(input_dim=32, output_dim=512),
    ]
    for name, state in {
        "spectre_backbone_vit_large_patch16_128": extractor.backbone.state_dict(),
        "spectre_combiner_feature_vit_large": extractor.feature_combiner.state_dict(),
        "SigLIP_projection_head_image": heads[0].state_dict(),
        "SigLIP_projection_head_text": heads[1].state_dict(),
        "spectre_qwen3_embedding_0.6B_lora": adapters,
    }.items():
        torch.save(state, folder / f"{name}.pt")


def write_qwen3(folder: Path) -> None:
    """Write a small language model in the layout of Qwen3-Embedding."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3Model

    folder.mkdir()
    ids = {word: number for number, word in enumerate(dict.fromkeys(["<end>", "<unk>", "Findings", *WORDS]))}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))  # noqa: S106
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A <end>", special_tokens=[("<end>", 0)])
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<unk>",  # noqa: S106
        eos_token="<end>",  # noqa: S106
        pad_token="<end>",  # noqa: S106
        padding_side="left",
    ).save_pretrained(folder)
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    torch.manual_seed(3)
    config = Qwen3Config(vocab_size=len(ids), num_key_value_heads=1, head_dim=16, **shape)
    Qwen3Model(config).save_pretrained(folder)
    kinds = {"": "Transformer", "1_Pooling": "Pooling", "2_Normalize": "Normalize"}
    modules = [{"path": path, "type": f"sentence_transformers.models.{kind}"} for path, kind in kinds.items()]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling/config.json").write_text(json.dumps({"pooling_mode_lasttoken": True}))


def write_longformer(folder: Path) -> None:
    """Write a small Longformer with its tokenizer, as Clinical-Longformer is published."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import LongformerConfig, LongformerModel, RobertaTokenizerFast

    folder.mkdir()
    letters = [f"{mark}{chr(code)}" for mark in ("", "Ġ") for code in range(ord("!"), ord("~") + 1)]
    ids = {word: number for number, word in enumerate(["<s>", "<pad>", "</s>", "<unk>", "<mask>", *letters, "Ġ"])}
    tokenizer = Tokenizer(models.BPE(ids, [], unk_token="<unk>"))  # noqa: S106
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    RobertaTokenizerFast(tokenizer_object=tokenizer).save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps(ids))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    # Merlin's own class has a linear layer of 768 behind it
    shape: dict[str, Any] = {"hidden_size": 768, "num_hidden_layers": 2, "num_attention_heads": 12}
    torch.manual_seed(4)
    LongformerModel(
        LongformerConfig(
            vocab_size=len(ids),
            attention_window=16,
            intermediate_size=64,
            max_position_embeddings=1026,
            type_vocab_size=1,
            pad_token_id=1,
            **shape,
        )
    ).save_pretrained(folder)


def write_merlin(folder: Path) -> Any:
    """Write Merlin's checkpoint from a model of the package's own class; returns that model, in evaluation mode.

    Its constructor would download a ResNet and a Longformer: it is given small ones of these classes.
    """
    import pytest
    from merlin.models import build
    from torchvision.models.resnet import Bottleneck, ResNet
    from transformers import AutoModel, AutoTokenizer

    from bimcvr.models.peers.merlin import FILE

    write_longformer(folder / "longformer")

    def local(loader: Any) -> Any:
        return type(
            "Local", (), {"from_pretrained": staticmethod(lambda _: loader.from_pretrained(folder / "longformer"))}
        )

    torch.manual_seed(5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build.torchvision.models, "resnet152", lambda pretrained: ResNet(Bottleneck, MERLIN["blocks"]))
        patch.setattr(build, "AutoModel", local(AutoModel))
        patch.setattr(build, "AutoTokenizer", local(AutoTokenizer))
        model = build.MerlinArchitecture().eval()
    torch.save(model.state_dict(), folder / FILE)
    return model


CT_CLIP = {
    "dim": 32,
    "codebook_size": 64,
    "image_size": 60,
    "spatial_depth": 1,
    "temporal_depth": 2,
    "dim_head": 8,
    "heads": 2,
    "slices": 20,
}
CT_CLIP_TEXT = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 12, "intermediate_size": 64}


def write_ct_clip(folder: Path) -> Any:
    """Write CT-CLIP_v2.pt from a model of its own class, and the folder of the tokenizer; returns that model."""
    import pytest
    from ct_clip import ct_clip
    from transformer_maskgit import CTViT
    from transformers import BertConfig, BertModel

    words = write_vocabulary(folder / "cxr-bert")
    shape = {"patch_size": 20, "temporal_patch_size": 10, **CT_CLIP}
    del shape["slices"]
    torch.manual_seed(6)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ct_clip.BertTokenizer, "from_pretrained", lambda *_, **__: None)
        model = ct_clip.CTCLIP(
            image_encoder=CTViT(**shape),
            text_encoder=BertModel(BertConfig(vocab_size=words, **CT_CLIP_TEXT)),
            dim_image=3 * 3 * 32,
            dim_text=48,
            dim_latent=512,
            extra_latent_projection=False,
            use_mlm=False,
            downsample_image_embeds=False,
            use_all_token_embeds=False,
        )
    torch.save(model.state_dict(), folder / "CT-CLIP_v2.pt")
    return model.eval()
