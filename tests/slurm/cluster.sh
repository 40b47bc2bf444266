#!/usr/bin/env bash
# The test cluster: a real SLURM cluster of several nodes on one machine, to test and to try Shardmill with.
#
#   cluster.sh up              install what is missing, start the cluster, wait until its nodes are idle
#   cluster.sh down            cancel all jobs, stop every daemon, remove the state directory
#   cluster.sh down --keep     the same, but keep the state (job ids, accounting, logs) for the next `up`
#   cluster.sh hold            up, then down at the end of standard input; for one holder of DIR at a time
#   cluster.sh status          what runs; exit code 0 only when the whole cluster answers
#   cluster.sh env             print `export SLURM_CONF=...`, which is all that SLURM's commands need
#   cluster.sh node-kill NAME  power loss: kill the node's slurmd, its steps and the processes of its jobs
#   cluster.sh node-drop NAME  lost contact: kill the node's slurmd only; its jobs run on unseen
#   cluster.sh node-up NAME    start the node's slurmd again
#   cluster.sh ctld-down       stop the controller; jobs run on
#   cluster.sh ctld-up         start the controller again
#
# One slurmctld and several slurmd (nodes n1, n2, ...) on this host. The nodes' GPUs exist by name only. Unless told not
# to, also slurmdbd over a private MariaDB, which sacct needs. Runs as root on Debian 12, in a container too: it needs no
# systemd, no cgroup and no GPU. Clusters with a DIR and a PORT of their own run side by side.
#
# Partitions: main (the default, never preempted), urgent (preempts the next two), spot (requeued 20 s after the signal of
# --signal), spotkill (requeued at once: that signal and SIGTERM together, SIGKILL 5 s later).
#
# Settings, from the environment:
#   SHARDMILL_SLURM_DIR        state directory                                   /tmp/shardmill-slurm
#   SHARDMILL_SLURM_PORT       first of its TCP ports, PORT to PORT+10+NODES     26900
#   SHARDMILL_SLURM_NODES      number of nodes                                   2
#   SHARDMILL_SLURM_GPUS       GPUs of each node                                 8
#   SHARDMILL_SLURM_CPUS       CPUs that each node declares                      64
#   SHARDMILL_SLURM_MEM        memory that each node declares, in MiB            1048576
#   SHARDMILL_SLURM_ACCT       1: accounting (slurmdbd and MariaDB), 0: none     1
#   SHARDMILL_SLURM_MAXARRAY   one more than the highest index of an array       10001
#   SHARDMILL_SLURM_MINJOBAGE  seconds for which squeue knows an ended job       300
#   SHARDMILL_SLURM_REQUEUE    seconds that a requeued job waits                 5
#   SHARDMILL_SLURM_MEMKILL    1: measure memory and kill a job above its --mem  0
#   SHARDMILL_SLURM_INSTALL    1: apt-get install what is missing                1
#   SHARDMILL_SLURM_WAIT       seconds to wait for each daemon                   60
#
# Exit code 69: it cannot run on this machine. 75: another one holds DIR. 1: it should run here, but something failed.
set -euo pipefail

DIR=${SHARDMILL_SLURM_DIR:-/tmp/shardmill-slurm}
PORT=${SHARDMILL_SLURM_PORT:-26900}
NODES=${SHARDMILL_SLURM_NODES:-2}
GPUS=${SHARDMILL_SLURM_GPUS:-8}
CPUS=${SHARDMILL_SLURM_CPUS:-64}
MEM=${SHARDMILL_SLURM_MEM:-1048576}
ACCT=${SHARDMILL_SLURM_ACCT:-1}
MAXARRAY=${SHARDMILL_SLURM_MAXARRAY:-10001}
MINJOBAGE=${SHARDMILL_SLURM_MINJOBAGE:-300}
REQUEUE=${SHARDMILL_SLURM_REQUEUE:-5}
MEMKILL=${SHARDMILL_SLURM_MEMKILL:-0}
INSTALL=${SHARDMILL_SLURM_INSTALL:-1}
WAIT=${SHARDMILL_SLURM_WAIT:-60}

PATH=$PATH:/usr/sbin:/sbin
CONF=$DIR/etc/slurm.conf
export SLURM_CONF=$CONF
CANNOT_RUN=69
HELD=75

. "$(dirname "$0")/cluster_config.sh"

say() { printf 'test cluster: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }
cannot() { say "$*"; exit $CANNOT_RUN; }
show_log() { tail -n 20 "$DIR/log/$1" >&2 || true; }

# A cluster that runs or is kept goes on as it was made, whatever the environment says now.
SHAPE=(PORT NODES GPUS CPUS MEM ACCT MAXARRAY MINJOBAGE REQUEUE MEMKILL)
load_shape() { ! [ -r "$DIR/shape" ] || . "$DIR/shape"; }
save_shape() { declare -p "${SHAPE[@]}" | sed 's/^declare -- //' >"$DIR/shape"; }

gone() { ! [ -d "/proc/$1" ] || grep -q '^State:.[ZX]' "/proc/$1/status" 2>/dev/null; }

# pid_of PID_FILE COMMAND: the process in the file, if it lives and runs that command.
pid_of() {
    local pid
    [ -s "$1" ] || return 0
    pid=$(tr -dc 0-9 <"$1")
    [ -n "$pid" ] && ! gone "$pid" || return 0
    case $(cat "/proc/$pid/comm" 2>/dev/null) in "$2"*) echo "$pid" ;; esac
}
ctld_pid() { pid_of "$DIR/run/slurmctld.pid" slurmctld; }
dbd_pid() { pid_of "$DIR/run/slurmdbd.pid" slurmdbd; }
db_pid() { pid_of "$DIR/run/mariadb.pid" mariadbd; }
munge_pid() { pid_of "$DIR/run/munged.pid" munged; }
slurmd_pid() { pid_of "$DIR/run/slurmd-$1.pid" slurmd; }
node_names() { seq -f 'n%.0f' "$NODES"; }

until_ok() { # SECONDS COMMAND...
    local end=$(($(date +%s) + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$(date +%s)" -lt "$end" ] || return 1
        sleep 0.1
    done
}

stop_daemon() { # NAME PID
    [ -n "$2" ] && kill -TERM "$2" 2>/dev/null || return 0
    until_ok 20 gone "$2" && return 0
    say "$1 ($2) ignores SIGTERM, killing it"
    kill_all "$2"
    until_ok 5 gone "$2" || true
}
kill_all() { local pid; for pid in "$@"; do kill -KILL "$pid" 2>/dev/null || true; done; }

missing_packages() {
    local pair pairs="slurmctld:slurmctld slurmd:slurmd sbatch:slurm-client munged:munge"
    [ "$ACCT" = 0 ] || pairs+=" slurmdbd:slurmdbd mariadbd:mariadb-server-core mariadb:mariadb-client-core"
    for pair in $pairs; do command -v "${pair%:*}" >/dev/null || echo "${pair#*:}"; done
}

install_packages() {
    local missing lock policy=/usr/sbin/policy-rc.d made=
    missing=$(missing_packages | xargs)
    [ -n "$missing" ] || return 0
    [ "$INSTALL" = 1 ] || cannot "missing packages: $missing"
    command -v apt-get >/dev/null || cannot "there is no apt-get to install $missing; it needs Debian 12"
    # Several clusters may start at once.
    exec {lock}>/tmp/shardmill-slurm-install.lock
    flock "$lock"
    missing=$(missing_packages | xargs)
    if [ -n "$missing" ]; then
        say "installing $missing"
        # Keeps the packages from starting daemons of their own.
        [ -e $policy ] || { printf '#!/bin/sh\nexit 101\n' >$policy && chmod 755 $policy && made=1; }
        # shellcheck disable=SC2086 # a list
        { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing; } >"$DIR/log/apt.log" 2>&1 \
            || { [ -z "$made" ] || rm -f $policy; show_log apt.log; cannot "apt-get cannot install $missing"; }
        [ -z "$made" ] || rm -f $policy
    fi
    exec {lock}>&-
}

make_folders() {
    local i
    mkdir -p "$DIR"/{etc,run,log,ctld,spool,dev,munge}
    chmod 755 "$DIR" "$DIR"/{etc,run,log,ctld,spool,dev}
    chmod 700 "$DIR/munge"
    for i in $(node_names); do mkdir -p "$DIR/spool/$i"; done
    # Without a character device SLURM counts GPUs, but does not set CUDA_VISIBLE_DEVICES. Their numbers are in the names.
    for ((i = 0; i < GPUS; i++)); do ln -sfn /dev/null "$DIR/dev/nvidia$i"; done
    [ -s "$DIR/munge/key" ] || (umask 077 && head -c 128 /dev/urandom >"$DIR/munge/key")
}

start_munge() {
    [ -z "$(munge_pid)" ] || return 0
    munged --num-threads=10 --key-file="$DIR/munge/key" --socket="$DIR/run/munge.socket" --pid-file="$DIR/run/munged.pid" \
        --log-file="$DIR/log/munged.log" --seed-file="$DIR/munge/seed" </dev/null >"$DIR/log/munged.out" 2>&1 \
        || { show_log munged.out; die "munged did not start"; }
    until_ok "$WAIT" munge --socket="$DIR/run/munge.socket" -n || die "munged does not answer"
}

install_database() {  # now and then it fails where several clusters start at a time
    rm -rf -- "$DIR/db"
    mariadb-install-db --no-defaults --user=root --datadir="$DIR/db" --auth-root-authentication-method=normal --skip-test-db \
        >"$DIR/log/mariadb-install.log" 2>&1
}

start_database() {
    [ -z "$(db_pid)" ] || return 0
    if ! [ -d "$DIR/db/mysql" ]; then
        install_database || { sleep 3; install_database; } \
            || { grep -i error "$DIR/log/mariadb-install.log" >&2; show_log mariadb-install.log; die "mariadb-install-db failed"; }
    fi
    setsid mariadbd --defaults-file="$DIR/etc/my.cnf" --init-file="$DIR/etc/init.sql" </dev/null >>"$DIR/log/mariadb.out" 2>&1 &
    until_ok "$WAIT" mariadb --no-defaults -h127.0.0.1 -P$((PORT + 3)) -uslurm -pslurm -e 'select 1' slurm_acct_db \
        || { show_log mariadb.log; die "MariaDB does not answer"; }
}

start_dbd() { # SECONDS
    [ -n "$(dbd_pid)" ] || slurmdbd </dev/null >>"$DIR/log/slurmdbd.out" 2>&1 || return 1
    until_ok "$1" sacctmgr -n show cluster
}

start_accounting() {
    start_database
    if [ -z "$(dbd_pid)" ]; then  # now and then a database that has only just started gives slurmdbd no result, and it ends
        start_dbd 20 || start_dbd "$WAIT" || { show_log slurmdbd.log; die "slurmdbd does not answer"; }
    fi
    [ -n "$(sacctmgr -n -P show cluster test format=cluster)" ] || sacctmgr -i -Q add cluster test >/dev/null || die "sacctmgr add cluster failed"
}

start_ctld() {
    [ -z "$(ctld_pid)" ] || return 0
    slurmctld </dev/null >>"$DIR/log/slurmctld.out" 2>&1 || { show_log slurmctld.log; die "slurmctld did not start"; }
    until_ok "$WAIT" scontrol ping || { show_log slurmctld.log; die "slurmctld does not answer"; }
}

start_node() {
    [ -z "$(slurmd_pid "$1")" ] || return 0
    slurmd -N "$1" </dev/null >>"$DIR/log/slurmd-$1.out" 2>&1 || { show_log "slurmd-$1.log"; die "slurmd $1 did not start"; }
}

nodes_ready() { [ "$(sinfo -h -N -p main -o '%N %T' | grep -Ec ' (idle|mixed|allocated|completing)$')" = "$NODES" ]; }

check_machine() {
    [ "$(uname -s)" = Linux ] || cannot "needs Debian 12"
    [ "$(id -u)" = 0 ] || cannot "needs root"
}

up() {
    local node
    check_machine
    [ ${#DIR} -le 60 ] || die "SHARDMILL_SLURM_DIR is too long: the path of a Unix socket has room for 107 characters"
    [ -r "$DIR/shape" ] || [ -z "$(ls -A "$DIR" 2>/dev/null)" ] || die "$DIR holds other things; name another SHARDMILL_SLURM_DIR"
    mkdir -p "$DIR/log"
    load_shape
    save_shape
    install_packages
    make_folders
    write_config
    start_munge
    [ "$ACCT" = 0 ] || start_accounting
    start_ctld
    for node in $(node_names); do start_node "$node"; done
    until_ok "$WAIT" nodes_ready || { sinfo -N -l >&2; show_log slurmctld.log; die "the nodes do not come up"; }
    env_line
}
env_line() { echo "export SLURM_CONF=$CONF"; }

# A step is no child of this script and has no pid file, but it holds its node's log open.
steps_of() { # [NODE]
    local process
    for process in /proc/[0-9]*; do
        [ "$(cat "$process/comm" 2>/dev/null)" = slurmstepd ] || continue
        find "$process/fd" -lname "$DIR/log/slurmd-${1:-*}.log" 2>/dev/null | grep -q . && echo "${process#/proc/}"
    done
    return 0
}

# The process of a job has this cluster's SLURM_CONF in its environment, and the id of its job.
job_processes_of() { # [NODE]
    local file process
    for file in $(grep -lzsx "SLURM_CONF=$CONF" /proc/[0-9]*/environ); do
        grep -qzs '^SLURM_JOB_ID=' "$file" || continue
        [ -z "${1:-}" ] || grep -qzsx "SLURMD_NODENAME=$1" "$file" || continue
        process=${file#/proc/}
        [ "${process%/environ}" = $$ ] || echo "${process%/environ}"
    done
    return 0
}

queue_empty() { [ -z "$(squeue -h -a)" ]; }

down() { # [--keep]
    local node
    [ -r "$DIR/shape" ] || return 0
    load_shape
    if [ -n "$(ctld_pid)" ]; then
        squeue -h -a -o %A 2>/dev/null | sort -u | xargs -r scancel --quiet 2>/dev/null || true
        until_ok 15 queue_empty || say "some jobs did not end by scancel"
    fi
    for node in $(node_names); do stop_daemon "slurmd $node" "$(slurmd_pid "$node")"; done
    # shellcheck disable=SC2046 # lists of pids
    kill_all $(steps_of) $(job_processes_of)
    stop_daemon slurmctld "$(ctld_pid)"
    stop_daemon slurmdbd "$(dbd_pid)"
    stop_daemon mariadbd "$(db_pid)"
    stop_daemon munged "$(munge_pid)"
    [ "${1:-}" = --keep ] || rm -rf -- "$DIR"
}

hold() {
    check_machine
    exec 9>"$DIR.lock"
    flock -n 9 || exit $HELD
    down # what a killed holder left
    # A dead parent reads nothing, and a message to it would end this script before its work is done.
    trap 'exec >/dev/null 2>&1; down' EXIT
    # Daemons must not inherit the lock: they may outlive a killed holder.
    up </dev/null 9>&-
    cat >/dev/null
}

status() {
    local node ok=0
    [ -r "$DIR/shape" ] || { echo down; return 3; }
    load_shape
    line() { printf '%-14s %s\n' "$1" "${2:-not running}"; [ -n "$2" ] || ok=3; }
    line munged "$(munge_pid)"
    if [ "$ACCT" = 1 ]; then
        line mariadbd "$(db_pid)"
        line slurmdbd "$(dbd_pid)"
    fi
    line slurmctld "$(ctld_pid)"
    for node in $(node_names); do line "slurmd $node" "$(slurmd_pid "$node")"; done
    if [ -n "$(ctld_pid)" ]; then
        sinfo -N -o '%N %P %T %C %G' || ok=3
        nodes_ready || ok=3
    fi
    [ $ok = 3 ] || env_line
    return $ok
}

node_verb() { # VERB NODE
    load_shape
    node_names | grep -qx -- "$2" || die "no node '$2'; there are: $(node_names | xargs)"
    # shellcheck disable=SC2046 # lists of pids
    case $1 in
        node-kill) kill_all $(slurmd_pid "$2") $(steps_of "$2") $(job_processes_of "$2") ;;
        node-drop) kill_all $(slurmd_pid "$2") ;;
        node-up) start_node "$2" ;;
    esac
}

case ${1:-} in
    up | hold | status) "$1" ;;
    down) down "${2:-}" ;;
    env) env_line ;;
    node-kill | node-drop | node-up) node_verb "$1" "${2:-}" ;;
    # Not SIGKILL: the controller would forget the latest job ids and give them out again.
    ctld-down) load_shape; stop_daemon slurmctld "$(ctld_pid)" ;;
    ctld-up) load_shape; start_ctld ;;
    *) sed -n '2,14p' "$0" | sed 's/^# \{0,1\}//'; exit 2 ;;
esac
