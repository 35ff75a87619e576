#!/usr/bin/env bash
# What runs on a node of the cluster: Ray, and on the head MLflow's server. `ray up` calls it, and
# after a reboot systemd (cluster.yaml) or cron (cluster-local.yaml).
#
#   node.sh start head|worker [options of `ray start`]   (re)start, return when it answers
#   node.sh again      as it was told last, after a reboot
#   node.sh stop       end what was started here; `ray stop` would end every Ray of this user
#   node.sh run ray|mlflow                               one of them in the foreground
#   node.sh scratch FOLDER USER   as root: FOLDER on the machine's NVMe disk, if it has one
#
# The settings are in `env` beside this file and, over them, what you add in `env.local`, which no
# setup writes; what `ray up` said of this node is in `role`.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ray_port=6379 dashboard_port=8265 mlflow_port=5000
again="node.sh: ended; once more in 5 s"

main() {
  local verb=${1:-}
  shift || true
  case $verb in
    start) remember "$@"; settings; stop; launch ;;
    again) settings; stop; launch ;;
    stop) settings; stop ;;
    run) settings; supervise "$1" ;;
    scratch) scratch "$@" ;;
    *) sed -n '2,13s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
  esac
}

# `ray up` names head, node and resources in variables of this one call; a reboot needs them again.
remember() {
  local name address
  address=$(own_address)
  {
    printf 'role=%q\n' "$1"
    printf 'address=%q\n' "$address"
    printf 'options=('; printf '%q ' "${@:2}"; printf ')\n'
    for name in RAY_HEAD_IP RAY_CLOUD_INSTANCE_ID RAY_NODE_TYPE_NAME RAY_CLOUD_INSTANCE_TYPE_NAME \
      RAY_OVERRIDE_RESOURCES RAY_OVERRIDE_LABELS RAY_USAGE_STATS_ENABLED RAY_enable_autoscaler_v2; do
      if [[ -n ${!name:-} ]]; then printf 'export %s=%q\n' "$name" "${!name}"; fi
    done
  } > "$here/role"
}

# The address on which `ray up` reached this machine: the others reach it there as well. Ray's own
# guess is the interface of the default route, which a private network need not be.
own_address() {
  local from
  read -r -a from <<< "${SSH_CONNECTION:?node.sh start is called by 'ray up', over ssh}"
  echo "${from[2]}"
}

settings() {
  set -a
  source "$here/env"
  if [[ -e $here/env.local ]]; then source "$here/env.local"; fi
  set +a
  source "$here/role"
  unset OMP_NUM_THREADS PYTHONWARNINGS  # `ray up` sets them in its shells; trials decide themselves
  # Debian's bash reads ~/.bashrc, and so `env` again, wherever SSH_CLIENT is set: over the variables
  # that a job was sent with (Ray starts workers by `bash -c`).
  unset SSH_CLIENT SSH_CONNECTION SSH_TTY
}

services() { if [[ $role == head ]]; then echo mlflow ray; else echo ray; fi; }

by_systemd() { [[ -e /etc/systemd/system/raybench@.service ]]; }

launch() {
  local service
  for service in $(services); do
    : > "$here/$service.log"
    if by_systemd; then
      sudo systemctl enable --quiet "raybench@$service"
      sudo systemctl restart "raybench@$service"
    else
      setsid nohup "$here/node.sh" run "$service" >> "$here/$service.log" 2>&1 < /dev/null &
    fi
  done
  for service in $(services); do wait_for "$service"; done
}

stop() {
  local service pid _
  for service in mlflow ray; do
    if by_systemd; then sudo systemctl stop "raybench@$service"; continue; fi
    pid=$(cat "$here/$service.pid" 2> /dev/null || echo none)
    if ! ours "$pid" "$service"; then continue; fi
    kill -TERM "$pid" || true
    for _ in $(seq 300); do ours "$pid" "$service" || break; sleep 0.1; done
    kill -KILL -- "-$pid" 2> /dev/null || true  # its session: what did not end with it
  done
}

# A pid outlives its process: after a reboot it may be anybody's.
ours() { [[ $1 != none ]] && ps -o args= -p "$1" | grep -qF "node.sh run $2"; }

# Start it again whenever it fails: Ray ends when its head was out of reach for a minute. A worker
# gives up half an hour after the last good start, so that it does not outlive its cluster.
supervise() {
  local child since=$SECONDS begun
  echo $$ > "$here/$1.pid"
  trap 'kill -TERM "$child" 2> /dev/null || true; wait "$child" || true; exit 0' TERM INT
  while (( SECONDS - since < 1800 )) || [[ $role == head ]]; do
    begun=$SECONDS
    "serve_$1" & child=$!
    if wait "$child"; then return; fi
    echo "$again"
    if (( SECONDS - begun > 120 )); then since=$SECONDS; fi
    sleep 5 & child=$!
    wait "$child"
  done
  echo "no head at $RAY_HEAD_IP for half an hour: given up; 'node.sh again' or 'ray up' tries anew"
}

serve_ray() {
  private "${RAY_TMPDIR:-/tmp/raybench-$UID}"
  private "$(dirname "$RAYBENCH_CACHE")"
  ulimit -n 65536 2> /dev/null || ulimit -n "$(ulimit -Hn)"  # one per connection and memory map
  if [[ $role == head ]]; then
    exec ray start --block --head --node-ip-address="$address" --port=$ray_port \
      --dashboard-host=127.0.0.1 --dashboard-port=$dashboard_port \
      --autoscaling-config="$HOME/ray_bootstrap_config.yaml" "${options[@]}"
  fi
  exec ray start --block --address="$RAY_HEAD_IP:$ray_port" --node-ip-address="$address" \
    "${options[@]}"
}

# Ray opens its folder to everybody on the machine, so it gets one inside a closed one.
private() {
  mkdir -p -m 700 "$1"
  if [[ ! -O $1 ]]; then echo "$1 is somebody else's" >&2; exit 1; fi
}

# Loopback is enough: only the driver, which runs here, and a browser behind the tunnel use it.
serve_mlflow() {
  export MLFLOW_BACKEND_STORE_URI=$RAYBENCH_MLFLOW_STORE  # a command line is everybody's to read
  export MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false         # else seven processes more, for nothing
  exec mlflow server --host 127.0.0.1 --port $mlflow_port --workers 2 \
    --allowed-hosts "localhost:*,127.0.0.1:*" \
    --artifacts-destination "${RAYBENCH_STORAGE:-$RAYBENCH_HOME}/artifacts"
}

wait_for() {
  local _
  for _ in $(seq 180); do
    if "answers_$1"; then return; fi
    if (( $(grep -cF "$again" "$here/$1.log") > 1 )); then break; fi
    sleep 0.5
  done
  echo "$1 does not answer on this machine; the end of $here/$1.log:" >&2
  tail -n 20 "$here/$1.log" >&2
  exit 1
}

answers_ray() { grep -q 'Ray runtime started' "$here/ray.log"; }

# A real call with the address that the driver uses: /health answers where everything else is refused.
answers_mlflow() {
  "$here/venv/bin/python" - "$RAYBENCH_TRACKING_URI" 2> /dev/null <<'END'
import sys, urllib.request
call = urllib.request.Request(
    sys.argv[1] + "/api/2.0/mlflow/experiments/search",
    b'{"max_results": 1}',
    {"Content-Type": "application/json"},
)
urllib.request.urlopen(call, timeout=5).read()
END
}

# Instance storage is empty after a stop, so this runs at every start: format what holds nothing.
# Without such a disk FOLDER stays on the root volume. The Deep Learning AMI mounts its disks itself.
scratch() {
  local folder=$1 user=$2 disk
  mkdir -p "$folder"
  if ! mountpoint -q "$folder"; then
    if mountpoint -q /opt/dlami/nvme; then
      mkdir -p /opt/dlami/nvme/raybench
      mount --bind /opt/dlami/nvme/raybench "$folder"
    else
      disk=$(lsblk -dno PATH,MODEL | awk '/Amazon EC2 NVMe Instance Storage/ { print $1; exit }')
      if [[ -n $disk ]]; then
        if ! blkid "$disk" > /dev/null; then mkfs.ext4 -q "$disk"; fi
        mount "$disk" "$folder"
      fi
    fi
  fi
  chown "$user:" "$folder"
  chmod 700 "$folder"
}

main "$@"
