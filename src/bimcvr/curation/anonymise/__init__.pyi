from .anonymiser import Anonymiser as Anonymiser

__all__ = ["Anonymiser"]
