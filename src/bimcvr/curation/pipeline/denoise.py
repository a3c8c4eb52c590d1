"""Denoising with any SimpleITK filter, written to a copy; the archive's own file is never changed."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bimcvr.atomic_files import replacing, require_room, require_whole_gzip
from bimcvr.data.reading.grid import GridRules
from bimcvr.errors import UserError

_NIFTI_HEADER = 352


@dataclass(frozen=True)
class Denoise:
    """A filter and its settings.

    Attributes:
        filter: the name of a SimpleITK filter from image to image, such as `CurvatureFlowImageFilter` or
            `MedianImageFilter`.
        parameters: its parameters: `{Radius: 1}` calls `SetRadius(1)`.
    """

    filter: str
    parameters: dict[str, Any] = field(default_factory=dict)

    @property
    def identity(self) -> str:
        """Text that changes whenever the voxels of the copy would."""
        return f"{self.filter} {sorted(self.parameters.items())}"

    def make(self) -> Any:
        """Return the filter with its parameters.

        Raises:
            UserError: SimpleITK has no such filter, or the filter has no such parameter.
        """
        import SimpleITK

        kind = getattr(SimpleITK, self.filter, None)
        if not (isinstance(kind, type) and issubclass(kind, SimpleITK.ImageFilter)):
            raise UserError(f"denoise.filter: SimpleITK has no filter '{self.filter}'. Use one like MedianImageFilter.")
        image_filter = kind()
        for name, value in self.parameters.items():
            setter = getattr(image_filter, f"Set{name}", None)
            if setter is None:
                raise UserError(f"denoise.parameters: {self.filter} has no parameter '{name}'.")
            try:
                setter(value)
            except (TypeError, NotImplementedError, ValueError) as error:
                raise UserError(f"denoise.parameters: {self.filter} does not accept {name} = {value!r}.") from error
        return image_filter

    def write(self, source: Path, target: Path, rules: GridRules) -> None:
        """Read a volume in HU, filter it, and write it in canonical axes as int16 HU.

        Args:
            source: the archive's volume.
            target: the file to write.
            rules: which grids are accepted.

        Raises:
            RefusedVolume: the source is not a regular volume in HU.
        """
        import SimpleITK

        from bimcvr.data.reading.volume import read_volume

        volume = read_volume(source, rules)
        image = SimpleITK.GetImageFromArray(volume.hu.astype("float32"))
        image.SetSpacing(volume.spacing[::-1])
        # canonical axes are ITK's own: right to left, front to back, feet to head
        smooth = SimpleITK.Clamp(self.make().Execute(image), SimpleITK.sitkFloat32, -32768, 32767)
        with replacing(target) as temporary:
            # ITK itself would print a line of its own
            require_room(temporary.parent, volume.hu.nbytes, f"the voxels of {target.name}")
            SimpleITK.WriteImage(SimpleITK.Cast(SimpleITK.Round(smooth), SimpleITK.sitkInt16), str(temporary), True)
            require_whole_gzip(temporary, _NIFTI_HEADER + volume.hu.nbytes)
