"""Dropout with a counter in place of a generator: every mask is a function of (element, key, tick, n).

All arithmetic is on 32-bit words, held in int64 because not every library computes in uint32: no product reaches
2^63, so that every library gives the same bits. A faster variant computes the same words in uint32.

Source: the mixer is "lowbias32" by C. Wellons, 2018, found by search for the least bias of 32-bit words.
"""

import math

from anyfw.core.arrays import Array, namespace
from anyfw.ops.dispatch import op

WORD = 0xFFFFFFFF
# Odd, below 2^31: neighbouring elements get words that differ in many bits before they are mixed.
SPREAD = 0x61C88647
FIRST = 0x7FEB352D
# Times a 32-bit word the second multiplier would pass 2^63, so its top bit goes by a shift.
SECOND = 0x846CA68B
_SECOND_LOW = SECOND - 2**31


@op
def dropout(x: Array, /, p: float, key: int, tick: Array, n: int) -> tuple[Array, Array]:
    """X / (1 - p) where the mask is set, else 0; all 0 where p is 1.

    Args:
        x: any shape.
        p: the probability of a 0.
        key: 32 bits, the layer's own.
        tick: 0-d int64 array, the number of the forward pass; its lower 32 bits count.
        n: which use of the layer within the forward pass.

    Returns:
        y and the mask, bool, in the shape of x.
    """
    mask = keep_mask(x, p, key, tick, n)
    return dropout_grad(x, mask, p), mask


@op
def dropout_grad(dy: Array, /, mask: Array, p: float) -> Array:
    """Dy / (1 - p) where the mask is set, else 0."""
    # A product, not `where`: a NaN in a dropped place must not vanish in silence.
    y = dy * namespace(dy).astype(mask, dy.dtype)
    if p < 1.0:
        y *= 1.0 / (1.0 - p)
    return y


def keep_mask(x: Array, p: float, key: int, tick: Array, n: int) -> Array:
    """The mask for an array like x: element i is kept where its 32-bit word is at least p 2^32."""
    xp = namespace(x)
    size = math.prod(x.shape)
    stream = stream_word(key, tick, n)
    index = xp.arange(size, dtype=xp.int64, device=x.device)
    index &= WORD
    index *= SPREAD
    index &= WORD
    # XOR, not a sum: sums would make every mask a window of one and the same long sequence.
    words = mix(index ^ stream)
    return xp.reshape(words >= math.ceil(p * 2.0**32), x.shape)


def stream_word(key: int, tick: Array, n: int) -> Array:
    """The word that tells one mask from all others."""
    return mix((mix((tick + (n * SPREAD & WORD)) & WORD) ^ (key & WORD)) & WORD)


def mix(word: Array) -> Array:
    """32-bit words in int64, scattered: one changed bit changes every bit with probability about one half."""
    word = word ^ (word >> 16)
    word = (word * FIRST) & WORD
    word = word ^ (word >> 15)
    word = (word * _SECOND_LOW + ((word & 1) << 31)) & WORD
    return word ^ (word >> 16)
