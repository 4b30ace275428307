"""The version of this package; nothing else, so that everything may import it."""

__version__ = "0.8.0"
