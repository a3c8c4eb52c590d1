"""Denoising: any filter of SimpleITK by its name, written to a copy; the archive's own file is never changed."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bimcvr.atomic_files import replacing
from bimcvr.errors import UserError


@dataclass(frozen=True)
class Denoise:
    """A filter and its settings.

    Attributes:
        filter: the name of a SimpleITK filter from image to image, as `CurvatureFlowImageFilter` or
            `MedianImageFilter`.
        parameters: what it is set to: `{Radius: 1}` calls `SetRadius(1)`.
    """

    filter: str
    parameters: dict[str, Any] = field(default_factory=dict)

    @property
    def identity(self) -> str:
        """All that decides the copy's voxels."""
        return f"{self.filter} {sorted(self.parameters.items())}"

    def make(self) -> Any:
        """Return the filter, set.

        Raises:
            UserError: SimpleITK has no such filter, or the filter no such setting.
        """
        import SimpleITK

        kind = getattr(SimpleITK, self.filter, None)
        if not (isinstance(kind, type) and issubclass(kind, SimpleITK.ImageFilter)):
            raise UserError(
                f"denoise.filter: SimpleITK has no filter '{self.filter}'. Name one like MedianImageFilter."
            )
        made = kind()
        for name, value in self.parameters.items():
            setter = getattr(made, f"Set{name}", None)
            if setter is None:
                raise UserError(f"denoise.parameters: {self.filter} has no setting '{name}'.")
            try:
                setter(value)
            except (TypeError, NotImplementedError, ValueError) as error:
                raise UserError(f"denoise.parameters: {self.filter} does not take {name} = {value!r}.") from error
        return made

    def write(self, source: Path, target: Path) -> None:
        """Read a volume in HU, filter it, and write it in canonical axes as int16 HU.

        Raises:
            RefusedVolume: the source is no regular volume in HU.
        """
        import SimpleITK

        from bimcvr.data.reading.volume import read_volume

        volume = read_volume(source)
        image = SimpleITK.GetImageFromArray(volume.hu.astype("float32"))
        image.SetSpacing(volume.spacing[::-1])
        # canonical axes are ITK's own: right to left, front to back, feet to head
        smooth = SimpleITK.Clamp(self.make().Execute(image), SimpleITK.sitkFloat32, -32768, 32767)
        with replacing(target) as temporary:
            SimpleITK.WriteImage(SimpleITK.Cast(SimpleITK.Round(smooth), SimpleITK.sitkInt16), str(temporary), True)
