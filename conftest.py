"""What every test of the workspace shares: how hypothesis looks for examples."""

import os

from hypothesis import settings

# A busy machine is no fault: an example may take its time. CI looks for the same examples in each run.
settings.register_profile("workspace", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("workspace")
