"""Profiles in the ledger: written, replaced, read back with the sweeps that they belong to."""

from __future__ import annotations

import sqlite3
from dataclasses import replace

import pytest

from raybench.errors import HomeError
from raybench.sweep.profiles import profiles_of, read_profiles, write_profile
from raybench.sweep.reader import SweepReader
from raybench.sweep.tables import open_engine, profiles
from tests.measurements import make_profile


def test_a_newer_measurement_replaces_the_older(engine):
    first = make_profile(at=1.0)
    others = [
        make_profile(at=2.0, image_size=128),
        make_profile(at=3.0, device="NVIDIA H100"),
        make_profile(at=4.0, precision="bf16"),
        make_profile(at=5.0, threads=2),
        make_profile(at=6.0, kwargs={"drop_rate": 0.5}),
    ]
    for profile in (first, *others):
        write_profile(engine, profile)
    assert read_profiles(engine) == (first, *others)
    again = replace(first, at=7.0, parameters=1)
    write_profile(engine, again)
    write_profile(engine, again)
    assert read_profiles(engine) == (*others, again)


def test_an_older_ledger_has_none(engine):
    profiles.drop(engine)
    assert read_profiles(engine) == ()


def test_rubbish_in_the_table_is_a_damaged_home(engine):
    with engine.begin() as connection:
        connection.execute(profiles.insert().values(key="x", content="{}"))
    with pytest.raises(HomeError, match="damaged"):
        read_profiles(engine)


def test_a_network_is_the_same_whatever_its_weights():
    found = (make_profile(backbone="timm:resnet18"), make_profile(kwargs={"drop_rate": 0.1}))
    spec = {"name": "timm:resnet18.a1_in1k", "weights": "pretrained", "kwargs": {}}
    assert profiles_of(found, [spec], 96) == found[:1]
    assert profiles_of(found, [{**spec, "kwargs": {"drop_rate": 0.1}}], 96) == found[1:]
    assert profiles_of(found, [spec], 97) == profiles_of(found, [], 96) == ()


def test_a_snapshot_holds_those_of_its_backbones_at_its_size(finished_home, tmp_path):
    copy = tmp_path / "ledger.db"
    with sqlite3.connect(finished_home / "ledger.db") as source, sqlite3.connect(copy) as target:
        source.backup(target)
    engine = open_engine(f"sqlite:///{copy}", create=True)
    reader = SweepReader(engine, "tiny")
    assert reader.snapshot().profiles == ()
    wanted = make_profile(backbone="timm:test_resnet", image_size=32)
    for profile in (wanted, make_profile(image_size=32), replace(wanted, image_size=64)):
        write_profile(engine, profile)
    assert reader.snapshot().profiles == (wanted,)
    profiles.drop(engine)
    assert SweepReader(engine, "tiny").snapshot().profiles == ()
    engine.dispose()
