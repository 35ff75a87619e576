"""Verbs about what sweeps are made of: backbones, data sets, the cache, the machine."""

from __future__ import annotations

import argparse

from raybench.errors import DataError
from raybench.verbs.output import print_json, print_table, tell


def backbones(arguments: argparse.Namespace) -> int:
    from raybench.terminal.backbones import look_up

    found = look_up(arguments.pattern, arguments.image_size)
    if arguments.json:
        print_json(found.as_json())
    else:
        print_table(found.table())
    return 0


def profile(arguments: argparse.Namespace) -> int:
    from raybench.profiling import profile as measure

    found = measure(
        arguments.what,
        arguments.home,
        arguments.image_size,
        arguments.device,
        arguments.threads,
        tell,
    )
    if arguments.json:
        print_json({"profiles": [measured.to_dict() for measured in found.profiles]})
    elif found.profiles:
        from raybench.terminal.profile import profile_table

        print_table(profile_table(found.profiles))
    return 1 if found.failures else 0


def datasets(arguments: argparse.Namespace) -> int:
    from raybench.terminal.datasets import card_rows, datasets_table

    if arguments.json:
        print_json(card_rows())
        return 0
    print_table(datasets_table())
    return 0


def check(arguments: argparse.Namespace) -> int:
    from raybench.auditing import check_data
    from raybench.settings import resolve_settings

    result = check_data(
        arguments.data,
        resolve_settings(arguments.home),
        tell,
        html=arguments.html,
        image_size=arguments.image_size,
    )
    for file in (result.json_file, result.html_file):
        tell(f"wrote {file}")
    if arguments.json:
        print_json(result.report.as_json())
    else:
        from raybench.terminal.audit import audit_table

        print_table(audit_table(result.report))
    if result.report.count("mistake"):
        return DataError.exit_code
    return 0 if result.report.clean else 1


def cache(arguments: argparse.Namespace) -> int:
    from raybench.datasets.cache.prune import limit_gb
    from raybench.settings import resolve_settings
    from raybench.terminal.cache import cache_state

    prune_to_gb = arguments.prune
    if prune_to_gb is True:
        prune_to_gb = limit_gb() or 0.0
    state = cache_state(resolve_settings(arguments.home).cache_dir, prune_to_gb)
    if arguments.json:
        print_json(state.as_json())
    else:
        print_table(state.table())
    return 0


def doctor(arguments: argparse.Namespace) -> int:
    from raybench.doctor import examine, examine_cluster_file
    from raybench.settings import resolve_settings

    if arguments.cluster is not None:
        findings = examine_cluster_file(arguments.cluster)
    else:
        findings = examine(resolve_settings(arguments.home))
    if arguments.json:
        print_json([finding.as_json() for finding in findings])
    else:
        for finding in findings:
            mark = "ok " if finding.ok else "BAD" if finding.essential else "no "
            print(f"{mark} {finding.subject:<10} {finding.text}")
    if all(finding.ok or not finding.essential for finding in findings):
        return 0
    return 3 if arguments.cluster is None else 2
