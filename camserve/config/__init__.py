"""Settings: which values are allowed, and where values come from.

schema.py           every setting with its type and range; `load_settings`, and `settings` of this process
setting_sources.py  reads the files and variables that hold settings; does not check their values
validation_words.py pydantic's validation errors in one line: key, value, and what is allowed
"""

from camserve.config.schema import Settings, load_settings, settings, shipped

__all__ = ["Settings", "load_settings", "settings", "shipped"]
