from .callbacks import CompileVolumeEncoder as CompileVolumeEncoder
from .embedder import Embedder as Embedder
from .losses.objective import Objective as Objective
from .peers.colipri import ColipriText as ColipriText
from .peers.colipri import ColipriVolume as ColipriVolume
from .peers.ct_clip import CtClipText as CtClipText
from .peers.ct_clip import CtClipVolume as CtClipVolume
from .peers.merlin import MerlinText as MerlinText
from .peers.merlin import MerlinVolume as MerlinVolume
from .peers.spectre import SpectreText as SpectreText
from .peers.spectre import SpectreVolume as SpectreVolume
from .retriever import Retriever as Retriever
from .text.base import FrozenTextEncoder as FrozenTextEncoder
from .text.finetuned import TunedText as TunedText
from .text.minilm import MiniLM as MiniLM
from .text.open_clip import OpenClipText as OpenClipText
from .text.sentence_transformer import SentenceEncoder as SentenceEncoder
from .volume.cached_features import CachedFeatures as CachedFeatures
from .volume.resnet3d import ResNet3D as ResNet3D
from .volume.slice_backbones import OpenClipImage as OpenClipImage
from .volume.slice_backbones import ResNet2D as ResNet2D
from .volume.slice_encoder import SliceEncoder as SliceEncoder
from .volume.slice_pooling import MeanP as MeanP
from .volume.slice_pooling import SeqLSTM as SeqLSTM
from .volume.slice_pooling import SeqTransf as SeqTransf
from .volume.slice_pooling import Statistic as Statistic
from .volume.view_fusion import ChannelGate as ChannelGate
from .volume.view_fusion import FirstView as FirstView
from .volume.view_fusion import TokenAttention as TokenAttention
from .volume.vit3d import ViT3D as ViT3D
from .volume.window_channels import WindowChannels as WindowChannels

__all__ = [
    "CachedFeatures",
    "ChannelGate",
    "ColipriText",
    "ColipriVolume",
    "CompileVolumeEncoder",
    "CtClipText",
    "CtClipVolume",
    "Embedder",
    "FirstView",
    "FrozenTextEncoder",
    "MeanP",
    "MerlinText",
    "MerlinVolume",
    "MiniLM",
    "Objective",
    "OpenClipImage",
    "OpenClipText",
    "ResNet2D",
    "ResNet3D",
    "Retriever",
    "SentenceEncoder",
    "SeqLSTM",
    "SeqTransf",
    "SliceEncoder",
    "SpectreText",
    "SpectreVolume",
    "Statistic",
    "TokenAttention",
    "TunedText",
    "ViT3D",
    "WindowChannels",
]
