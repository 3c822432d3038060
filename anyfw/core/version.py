"""The version, where files that are written can name it without importing the whole package."""

__version__ = "0.1.0"
