"""Which image backbone should I fine-tune on my data, given what I can spend? With evidence.

Three lines in a notebook: ``sweep = raybench.run("quickstart")``,
``raybench.open("quickstart").records()``, ``.leaderboard()``.
"""

from raybench.errors import RaybenchError
from raybench.library import Sweep, open, run
from raybench.version import __version__

__all__ = ["RaybenchError", "Sweep", "__version__", "open", "run"]
