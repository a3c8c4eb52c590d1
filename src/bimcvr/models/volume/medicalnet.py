"""MedicalNet's published weights (Chen et al. 2019, arXiv 1904.00625) for a 3D ResNet."""

from pathlib import Path

import torch
from pytorch_lightning.utilities import rank_zero_info
from torch import Tensor, nn

from bimcvr.errors import UserError, WeightsAbsent

_WHERE = (
    "MedicalNet publishes resnet_10_23dataset.pth, resnet_18_23dataset.pth and resnet_50_23dataset.pth at"
    " github.com/Tencent/MedicalNet and on the hub: `hf download TencentMedicalNet/MedicalNet-Resnet50"
    " resnet_50_23dataset.pth --local-dir DIR`. Give the file's path as `weights`, or leave `weights` out to train from"
    " scratch."
)


def load_medicalnet(net: nn.Module, path: str) -> None:
    """Load all weights of a network from a MedicalNet file, and log which tensors of the file are not used.

    Args:
        net: MONAI's ResNet without its classifier, of the file's depth.
        path: of the .pth file; its names begin with `module.` as published, or not.

    Raises:
        WeightsAbsent: there is no such file.
        UserError: it cannot be read, or a weight is missing in it or has another shape.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise WeightsAbsent(f"There is no file of weights {file}. {_WHERE}")
    published = _read(file)
    wanted = net.state_dict()
    # files of old versions of torch do not count a batch norm's batches
    missing = [name for name in wanted if name not in published and not name.endswith("num_batches_tracked")]
    differing = [name for name in wanted if name in published and wanted[name].shape != published[name].shape]
    if missing or differing:
        raise UserError(
            f"{file} does not fit this ResNet: {len(missing)} weights are missing ({', '.join(missing[:3]) or 'none'}),"
            f" and {len(differing)} differ in shape ({', '.join(differing[:3]) or 'none'}). `depth` must be the file's,"
            f" and `width` 64. {_WHERE}"
        )
    net.load_state_dict({name: published.get(name, value) for name, value in wanted.items()})
    unused = sorted(set(published) - set(wanted))
    rank_zero_info(f"MedicalNet's weights are taken from {file}. Not used: {', '.join(unused) or 'nothing'}.")


def _read(file: Path) -> dict[str, Tensor]:
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
        return {
            str(name).removeprefix("module."): torch.as_tensor(value)
            for name, value in state.get("state_dict", state).items()
        }
    except Exception as error:  # pickle and zip each have their own for a damaged file
        raise UserError(f"{file} cannot be read as a file of weights ({type(error).__name__}). {_WHERE}") from error
