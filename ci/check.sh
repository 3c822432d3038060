#!/usr/bin/env bash
# The one command that CI and people run: format, lint, types, import rules, tests with doctests and examples.
# Needs: pip install -e '.[test]' (and torch, where the comparisons with PyTorch are to run).
set -euo pipefail
cd "$(dirname "$0")/.."
export OPENBLAS_NUM_THREADS="${OPENBLAS_NUM_THREADS:-2}" OMP_NUM_THREADS="${OMP_NUM_THREADS:-2}"

python -m ruff format --check .
python -m ruff check .
python -m mypy
lint-imports --no-cache
python -m pytest "$@"
