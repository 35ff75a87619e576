"""What backbones were measured to cost, kept in a home's ledger for all of its sweeps."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from raybench.backbones.index import network_key
from raybench.measurements import Profile
from raybench.sweep.database import write_transaction
from raybench.sweep.soundness import telling_damage
from raybench.sweep.tables import profiles


def write_profile(engine: Engine, profile: Profile) -> None:
    """Keep a measurement; an older one of the same backbone, size, device and setting goes."""
    content = json.dumps(profile.to_dict(), allow_nan=False)
    key = _key(profile)
    with write_transaction(engine) as connection:
        connection.execute(profiles.delete().where(profiles.c.key == key))
        connection.execute(profiles.insert().values(key=key, content=content))


def read_profiles(engine: Engine) -> tuple[Profile, ...]:
    """All of a home, oldest first; none in a ledger of before there were any.

    Raises:
        HomeError: the ledger is damaged.
    """
    with telling_damage(engine), engine.connect() as connection:
        if not sa.inspect(connection).has_table(profiles.name):
            return ()
        return profiles_in(connection)


def profiles_in(connection: Connection) -> tuple[Profile, ...]:
    """The same within a transaction, where the table is known to be there."""
    rows = connection.scalars(sa.select(profiles.c.content))
    found = (Profile.from_dict(json.loads(content)) for content in rows)
    return tuple(sorted(found, key=lambda profile: (profile.at, profile.backbone)))


def profiles_of(
    found: Iterable[Profile], backbones: Iterable[Mapping[str, Any]], image_size: int
) -> tuple[Profile, ...]:
    """Those of some backbones (``PairRow.backbone_spec``) at one size; weights cost nothing."""
    wanted = {network_key(spec["name"], spec.get("kwargs", {})) for spec in backbones}
    return tuple(
        profile
        for profile in found
        if profile.image_size == image_size
        and network_key(profile.backbone, profile.kwargs) in wanted
    )


def _key(profile: Profile) -> str:
    identity = {
        "network": network_key(profile.backbone, profile.kwargs),
        "image_size": profile.image_size,
        "device": profile.device,
        "precision": profile.precision,
        "threads": profile.threads,
    }
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
