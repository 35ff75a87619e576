#!/usr/bin/env bash
# PostgreSQL lies on the head's disk, which ends with the head: copies of both databases, the newest
# eight of each, beside the checkpoints, in a folder that has the cluster's name. A new head starts
# from the newest one that is whole, so that a study goes on weeks after `ray down`.
#
#   backup.sh save       every quarter of an hour by systemd; by hand before `ray down`
#   backup.sh restore    into databases that hold nothing yet
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
set -a
source "$here/env"
if [[ -e $here/env.local ]]; then source "$here/env.local"; fi
set +a
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

save() {
  local db
  for db in raybench mlflow; do
    pg_dump --format=custom --file="$work/$db" "$db"
    pg_restore --list "$work/$db" > /dev/null
    stored save "$db" "$work/$db"
  done
}

restore() {
  local db from tables
  for db in raybench mlflow; do
    tables=$(psql -tA "$db" -c "select count(*) from pg_tables where schemaname = 'public'")
    if (( tables )); then continue; fi
    from=$(stored restore "$db" "$work/$db")
    if [[ -z $from ]]; then continue; fi
    pg_restore --single-transaction --no-owner --dbname="$db" "$work/$db"
    echo "$db: restored from $from"
  done
}

# By the library that keeps the checkpoints, so it reaches what they reach. A name holds the time,
# by which names sort, and the hash: a copy that was cut short is known, and older ones outlive it.
stored() {
  "$here/venv/bin/python" - "$@" <<'END'
import hashlib
import os
import sys
import time
from pathlib import Path
from urllib.parse import quote

import yaml
from raybench.storage import Store

KEEP = 8
verb, db, file = sys.argv[1], sys.argv[2], Path(sys.argv[3])
ray_up = yaml.safe_load((Path.home() / "ray_bootstrap_config.yaml").read_text())
cluster = quote(ray_up["cluster_name"], safe="")
store = Store(f"{os.environ['RAYBENCH_STORAGE']}/backups/{cluster}")


def sha256():
    return hashlib.sha256(file.read_bytes()).hexdigest()


def names():
    return sorted((name for name in store.sizes() if name.startswith(f"{db}-")), reverse=True)


def save():
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    store.put(f"{db}-{stamp}-{sha256()}.dump", file)
    store.delete(names()[KEEP:])


def restore():
    for name in names():
        store.get_file(name, file)
        if name.endswith(f"-{sha256()}.dump"):
            return print(store.uri(name))
        print(f"{store.uri(name)} is damaged; on to the one before", file=sys.stderr)
    if names():
        sys.exit(f"none of the copies of {db} is whole; move them away to begin without them")


{"save": save, "restore": restore}[verb]()
END
}

case ${1:-} in
  save | restore) "$1" ;;
  *) sed -n '2,7s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
esac
