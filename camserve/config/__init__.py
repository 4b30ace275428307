"""Settings: which values are legal, and where values come from.

schema.py           every setting with its type and range; `load_settings` and the process's own `settings`
setting_sources.py  files and variables that settings are read from, before anybody looks at their values
validation_words.py what pydantic finds wrong, in one line: key, value, and what is allowed
"""

from camserve.config.schema import Settings, load_settings, settings, shipped

__all__ = ["Settings", "load_settings", "settings", "shipped"]
