"""Training: the loop, what runs beside it, and the files that it leaves."""

from anyfw.train.callbacks import AverageWeights, Callback, EarlyStopping, PrintProgress, ProgressBar
from anyfw.train.history import History
from anyfw.train.trainer import Trainer

__all__ = ["AverageWeights", "Callback", "EarlyStopping", "History", "PrintProgress", "ProgressBar", "Trainer"]
