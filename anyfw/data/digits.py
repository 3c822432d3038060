"""Digits: 1,797 images of handwritten digits, 8 x 8 pixels of 0 ... 16, installed with anyfw.

The test part of "Optical Recognition of Handwritten Digits", licensed CC BY 4.0 (see digits.txt).

Source: E. Alpaydin, C. Kaynak, UCI Machine Learning Repository, 1998, https://doi.org/10.24432/C50P49
"""

import dataclasses
from pathlib import Path

from anyfw.data.dataset import TEST_FRACTION, Dataset
from anyfw.data.npz import read_npz
from anyfw.data.split import split

CLASS_NAMES = tuple("0123456789")


def load() -> Dataset:
    """1,437 training and 360 test images, balanced by class, the same ones each time.

    >>> load().train[0].shape, load().test[0].shape
    ((1437, 64), (360, 64))
    """
    arrays = read_npz(Path(__file__).with_name("digits.npz"), ("x", "y"))
    train, test = split(arrays["x"], arrays["y"], fraction=TEST_FRACTION, seed=0, stratify=True)
    dataset = Dataset.from_arrays("digits", (train[0], train[1]), (test[0], test[1]), class_names=CLASS_NAMES)
    # Pixels count the ink in 4 x 4 cells: they end at 16, not at 255.
    return dataclasses.replace(dataset, scale=1.0 / 16.0)
