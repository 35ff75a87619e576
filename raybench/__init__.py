"""Which image backbone should I fine-tune on my data, given what I can spend? With evidence.

Three lines in a notebook: ``sweep = raybench.run("quickstart")``,
``raybench.open("quickstart").records()``, ``.leaderboard()``. On a cluster:
``raybench.submit("quickstart", address="http://127.0.0.1:8265").leaderboard()``.
"""

from raybench.errors import RaybenchError
from raybench.library import Sweep, load, open, run, submit
from raybench.version import __version__

__all__ = ["RaybenchError", "Sweep", "__version__", "load", "open", "run", "submit"]
