"""Tables of raw columns: read in pieces, their columns told apart, and encoded for a net. Needs polars."""

from anyfw.data.tables.columns import Category, Columns, Number, Target
from anyfw.data.tables.read import read_table

__all__ = ["Category", "Columns", "Number", "Target", "read_table"]
