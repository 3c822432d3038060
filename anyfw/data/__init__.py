"""Data on the host: sources of rows, their order, and the data sets that anyfw knows."""

from anyfw.data.base import Arrays, Batches, Source, as_source
from anyfw.data.catalog import load
from anyfw.data.dataset import Dataset
from anyfw.data.idx import read_idx
from anyfw.data.labels import check_label_range, check_labels
from anyfw.data.rescale import fit_rescale
from anyfw.data.split import split
from anyfw.data.synthetic import blobs, circles, moons, noisy_curve, spirals
from anyfw.data.tables import Columns, read_table

__all__ = [
    "Arrays",
    "Batches",
    "Columns",
    "Dataset",
    "Source",
    "as_source",
    "blobs",
    "check_label_range",
    "check_labels",
    "circles",
    "fit_rescale",
    "load",
    "moons",
    "noisy_curve",
    "read_idx",
    "read_table",
    "spirals",
    "split",
]
