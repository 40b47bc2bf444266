#!/usr/bin/env bash
# One node's part of a run, without a scheduler: for machines that you reach by ssh.
#
#   RUN=data/runs/first slurm/run_node.sh NODE_NUM [NUM_NODES]
#
# Node NODE_NUM (from 0) of NUM_NODES (1 if not given) takes its part of the shards through all stages, with a worker for each share of
# its GPUs, and exits with 0 only if every shard is finished. Stages that share a model are done together, so that a worker loads it
# once. Start it on every node with the same RUN on a shared disk.
# What is finished is skipped, so the same line resumes. Logs are in logs/. A stage that learns from the shards of all nodes ends with 1
# until every node has finished the stage before it: run the line again then.
#   STAGES="extract_objects propose_negatives"   only these stages
#   PHASES=no                                    each stage by itself
#   SITE=slurm/sites/mine.yaml                   what a node has, if not 8 GPUs and 64 CPUs
#   CUDA_VISIBLE_DEVICES=0,1,2,3                 only these GPUs
set -euo pipefail

if [ $# -lt 1 ] || [ $# -gt 2 ] || [ -z "${RUN:-}" ]; then
    echo "usage: RUN=FOLDER slurm/run_node.sh NODE_NUM [NUM_NODES]" >&2
    exit 2
fi
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
source "$root/env/activate.sh"
python=python
if [ -z "${SHARDMILL_ENV_FILE:-}" ] && [ -x "$root/.venv/bin/python" ]; then
    python=$root/.venv/bin/python
fi
options=()
for stage in ${STAGES:-}; do options+=(--stage "$stage"); done
if [ "${PHASES:-}" = no ]; then options+=(--no-phases); fi
if [ -n "${SITE:-}" ]; then options+=(--site "$SITE"); fi
exec "$python" -m shardmill.launch.node "$RUN" "$@" "${options[@]}"
