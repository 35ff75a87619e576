#!/usr/bin/env bash
# PostgreSQL lies on the head's disk, which ends with the head: a copy of both databases, one file a
# day each, beside the checkpoints. A new head starts from the newest, so that a study goes on weeks
# after `ray down`.
#
#   backup.sh save       every quarter of an hour by systemd; by hand before `ray down`
#   backup.sh restore    into databases that hold nothing yet
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
set -a; source "$here/env"; set +a
place=$RAYBENCH_STORAGE/backups

save() {
  local db file
  for db in raybench mlflow; do
    file=$(mktemp)
    pg_dump --format=custom --file="$file" "$db"
    copy "$file" "$place/$db-$(date -u +%F).dump"
    rm "$file"
  done
}

restore() {
  local db file newest
  for db in raybench mlflow; do
    newest=$(newest "$db")
    if [[ -z $newest ]] || ! is_empty "$db"; then continue; fi
    file=$(mktemp)
    copy "$newest" "$file"
    pg_restore --single-transaction --no-owner --dbname="$db" "$file"
    rm "$file"
    echo "$db: restored from $newest"
  done
}

is_empty() {
  [[ $(psql -tA "$1" -c "select count(*) from pg_tables where schemaname = 'public'") == 0 ]]
}

# The library that raybench uses for its checkpoints, so it reaches what they reach.
copy() {
  "$here/venv/bin/python" -c 'import sys, pyarrow.fs as fs; fs.copy_files(*sys.argv[1:])' "$1" "$2"
}

newest() {
  "$here/venv/bin/python" - "$place" "$1" <<'END'
import sys
from pyarrow import fs

place, db = sys.argv[1:]
store, folder = fs.FileSystem.from_uri(place)
files = store.get_file_info(fs.FileSelector(folder, allow_not_found=True))
names = sorted(f.base_name for f in files if f.base_name.startswith(db + "-"))
print(f"{place}/{names[-1]}" if names else "")
END
}

case ${1:-} in
  save | restore) "$1" ;;
  *) sed -n '2,7s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
esac
