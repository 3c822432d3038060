#!/usr/bin/env bash
# The numbers that ci/check.sh only samples: 10,000 damaged files for each loader, 20 runs and 100 saves that are killed,
# a table of a million rows.
# ANYFW_SEED=N repeats a run; the seed of each is in its first lines.
set -euo pipefail
cd "$(dirname "$0")/.."
export OPENBLAS_NUM_THREADS="${OPENBLAS_NUM_THREADS:-2}" OMP_NUM_THREADS="${OMP_NUM_THREADS:-2}"
export ANYFW_MUTATIONS="${ANYFW_MUTATIONS:-10000}" ANYFW_KILLS="${ANYFW_KILLS:-20}" ANYFW_SAVE_KILLS="${ANYFW_SAVE_KILLS:-100}"
export ANYFW_TABLE_ROWS="${ANYFW_TABLE_ROWS:-1000000}" ANYFW_TABLE_SEEDS="${ANYFW_TABLE_SEEDS:-1}"
python -m pytest tests/test_mutations.py tests/test_kills.py tests/test_faults.py tests/test_big_table.py "$@"
