"""CUDA kernels run on the CPU: see `player.py`."""
