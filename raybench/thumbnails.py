"""Small pictures of single images for a report, out of the decoded cache; none where it is gone."""

from __future__ import annotations

import base64
import io
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from raybench.records import PairRow

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from raybench.datasets.cache.files import CachedImages

SIDE = 96
_QUALITY = 70
_log = logging.getLogger(__name__)


class Thumbnails:
    """Reads decoded sets below ``cache_dir``; None: there is none."""

    def __init__(self, cache_dir: Path | None) -> None:
        self.cache_dir = cache_dir
        self._gone: dict[str, None] = {}

    @property
    def why(self) -> str:
        """Why pictures were missing so far, in words; empty while none were."""
        if self.cache_dir is None:
            return "no cache of decoded images is at hand"
        if not self._gone:
            return ""
        return f"the decoded images of {', '.join(self._gone)} are not in the cache any more"

    def read(self, pair: PairRow, images: Iterable[str]) -> Mapping[str, str]:
        """Image id -> ``data:`` URL of a WebP; those that are not there are left out.

        Only the pictures that are asked for are read, since the cache is mapped, not loaded.
        """
        wanted = list(images)
        data = self._open(pair) if wanted else None
        if data is None:
            return {}
        places = {image: place for place, image in enumerate(data.ids)}
        return {i: _data_url(data.images[places[i]]) for i in wanted if i in places}

    def _open(self, pair: PairRow) -> CachedImages | None:
        """The sound set with the pair's digest."""
        from raybench.datasets.cache.files import DamagedError, read_set

        digest = str(pair.facts.get("data_digest", ""))
        if self.cache_dir is None:
            return None
        for folder in self.cache_dir.glob(f"*-{digest[:12]}") if digest else ():
            try:
                data = read_set(folder, self.cache_dir / "index")
            except (FileNotFoundError, DamagedError) as error:
                _log.warning("no thumbnails from %s: %s", folder, error)
                continue
            if data.digest == digest:
                return data
        self._gone[pair.dataset] = None
        return None


def _data_url(pixels: NDArray[np.uint8]) -> str:
    from PIL import Image

    picture = Image.fromarray(pixels)
    picture.thumbnail((SIDE, SIDE))
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=_QUALITY)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
