"""Settings of all tests."""

from hypothesis import settings

settings.register_profile("no deadline", deadline=None)  # machines are busy: no test depends on time
settings.load_profile("no deadline")
