"""What all launches share: which arrays a kernel covers, and how many threads go over them."""

from typing import Any, Protocol

from anyfw.backends.cupy.products import Products
from anyfw.core.arrays import Array, DType, dtype_name, namespace

# Threads of a block, as `source/common.cu` has them: for elements; for rows, a warp each; for columns, so many each.
BLOCK = 256
WARP, ROWS, TALL = 32, 8, 32
# The most blocks along the second axis of a grid.
_WIDEST = 65535

Grid = tuple[int, ...]


class Launch(Protocol):
    """Runs a kernel."""

    def __call__(self, dtype: str, name: str, grid: Grid, block: Grid, *arguments: Any) -> None:
        """Run the kernel of that name.

        Args:
            dtype: the compilation of it, "float32" or "float64".
            name: as in the source.
            grid, block: how many blocks, and threads of each.
            arguments: arrays, None for one that is absent, ints and floats, in the kernel's order.
        """


class Uncovered(Exception):  # noqa: N818 - no error: raised where the reference has to do it
    """These arguments are not what a kernel is made for."""


class Run:
    """Launches by the shape of what a kernel goes over; nothing is launched for nothing. And matrix products.

    Args:
        launch: runs kernels.
        products: computes products; without it they are the array library's own.
    """

    def __init__(self, launch: Launch, products: Products | None) -> None:
        self.launch, self.products = launch, products

    def product(self, out: Array, a: Array, b: Array, **options: Any) -> bool:
        """As `Products`."""
        if self.products is not None:
            return self.products(out, a, b, **options)
        if options.get("epilogue"):
            return False
        left, right = (a.T if options.get("transpose_a") else a), (b.T if options.get("transpose_b") else b)
        if options.get("add"):
            out += left @ right
        else:
            namespace(out).matmul(left, right, out=out)
        return True

    def each(self, name: str, like: Array, *arguments: Any) -> None:
        """One thread for each element."""
        if like.size:
            self.launch(dtype_name(like), name, (blocks(like.size, BLOCK),), (BLOCK,), *arguments)

    def rows(self, name: str, like: Array, *arguments: Any) -> None:
        """One warp for each row."""
        self.launch(dtype_name(like), name, (blocks(len(like), ROWS),), (WARP, ROWS), *arguments)

    def columns(self, name: str, like: Array, *arguments: Any) -> None:
        """One block for 32 columns, from their first row to their last."""
        self.launch(dtype_name(like), name, (blocks(like.shape[-1], WARP),), (WARP, TALL), *arguments)

    def matrix(self, name: str, dtype: str, rows: int, columns: int, *arguments: Any) -> None:
        """One thread for each element, which knows its row and its column."""
        if rows and columns:
            grid = blocks(rows, ROWS), min(blocks(columns, WARP), _WIDEST)
            self.launch(dtype, name, grid, (WARP, ROWS), *arguments)


def blocks(n: int, size: int) -> int:
    """How many blocks of that size n needs."""
    return -(-n // size)


def empty(like: Array, shape: tuple[int, ...], dtype: DType | None = None) -> Array:
    """A new array beside another."""
    return namespace(like).empty(shape, dtype=like.dtype if dtype is None else dtype)


def cover(x: Array, *others: Array | None) -> None:
    """Refuse what is not contiguous, not all float32 or not all float64."""
    dtype = x.dtype
    if dtype_name(x) not in ("float32", "float64") or not x.flags.c_contiguous:
        raise Uncovered
    for other in others:
        if other is not None and (other.dtype != dtype or not other.flags.c_contiguous):
            raise Uncovered


def cover_alike(x: Array, *others: Array | None) -> None:
    """As `cover`, and of one shape."""
    cover(x, *others)
    if any(other is not None and other.shape != x.shape for other in others):
        raise Uncovered


def expect_matrix(x: Array) -> tuple[int, int]:
    """(rows, columns) of an array with both; another is refused."""
    if x.ndim != 2 or 0 in x.shape:
        raise Uncovered
    rows, columns = x.shape
    return rows, columns


def expect_vectors(columns: int, *vectors: Array | None) -> None:
    """Refuse vectors of another length."""
    if any(vector is not None and vector.shape != (columns,) for vector in vectors):
        raise Uncovered
