"""When an archive member counts as a decompression bomb: a small file that unpacks to a very large one."""

RATIO = 200
"""How many times a member may exceed its packed size; text packs 10 to 30 times."""

_HARMLESS = 10**7  # bytes: smaller members may pack as well as they like


def is_bomb(unpacked: int, packed: int, ratio: float = RATIO) -> bool:
    """Return whether a member, or a whole archive, unpacks to suspiciously much.

    Args:
        unpacked: bytes after unpacking, as declared or as written so far.
        packed: bytes before unpacking.
        ratio: how many times `unpacked` may exceed `packed`; anything up to 10 MB is accepted.
    """
    return unpacked > _HARMLESS and unpacked > ratio * max(packed, 1)
