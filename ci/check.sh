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
# The training suite on a device that refuses to be mixed with another, and on one without float64.
ANYFW_BACKEND=strict:device1 python -m pytest -q tests/test_train.py
ANYFW_BACKEND=strict:no_float64 python -m pytest -q tests/test_train.py
python -m pytest "$@"
