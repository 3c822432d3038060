"""How far a compressed file may expand: a few kilobytes must not fill the memory."""

from pathlib import Path

from anyfw.core.errors import FileFormatError

# DEFLATE reaches 1032 to 1. Images and tables stay below 20 to 1; beyond 100 to 1 there is little but zeros.
MAX_RATIO = 100
ALWAYS_ALLOWED = 2**26


def check_expansion(path: Path, stored: int, announced: int) -> None:
    """Refuse a file of `stored` bytes that announces `announced` bytes of content, before any are allocated.

    Raises:
        FileFormatError: more than 64 MiB and more than 100 times the file's size.
    """
    if announced > max(ALWAYS_ALLOWED, MAX_RATIO * stored):
        raise FileFormatError(
            f"{path}: expected content of at most {MAX_RATIO} times the file's {stored} bytes, "
            f"got a header that announces {announced}. It is damaged or hostile; a file of your own, store "
            "uncompressed."
        )
