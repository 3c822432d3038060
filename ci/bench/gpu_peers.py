"""The peers on a GPU, each as its own documentation would have it written for speed.

All rows, and the order of a pass, are on the device; nothing is read before the end of a round.

This file has never run on a GPU yet.
"""

import os

import numpy as np
from peers import _jax, _jax_weights, torch_parts, torch_weights
from workloads import Workload


def torch_eager(workload: Workload):
    """PyTorch with its fused optimizer."""
    return _torch(workload, compiled=False)


def torch_compiled(workload: Workload):
    """The same, forward and loss by torch.compile, whose mode "reduce-overhead" records CUDA graphs."""
    return _torch(workload, compiled=True)


def _torch(workload: Workload, *, compiled: bool):
    import torch

    torch.set_float32_matmul_precision(os.environ["BENCH_PRECISION"])
    net, criterion, optimizer, x, y = torch_parts(workload, fused=True, device="cuda")
    generator = np.random.default_rng(2)

    def loss(rows):
        return criterion(net(x[rows]), y[rows])

    if compiled:
        loss = torch.compile(loss, mode="reduce-overhead")

    def run() -> None:
        for order in workload.passes(generator):
            order = torch.from_numpy(order).cuda()
            for start in range(0, workload.rows, workload.batch):
                optimizer.zero_grad()
                loss(order[start : start + workload.batch]).backward()
                optimizer.step()
        torch.cuda.synchronize()

    return run, lambda: torch_weights(net)


def jax_jit(workload: Workload):
    """One jitted function a step, which finds its rows in the order itself, with its arguments donated."""
    import jax

    step, state, data = _jax(workload)
    generator = np.random.default_rng(2)

    def sliced(state, data, order, start, size):
        return step(state, data, jax.lax.dynamic_slice(order, (start,), (size,)))

    compiled = jax.jit(sliced, donate_argnums=0, static_argnums=4)

    def run() -> None:
        nonlocal state
        for order in workload.passes(generator):
            order = jax.device_put(order.astype(np.int32))
            for start in range(0, workload.rows, workload.batch):
                state = compiled(state, data, order, start, min(workload.batch, workload.rows - start))
        jax.block_until_ready(state)

    return run, lambda: _jax_weights(state)


def jax_scan(workload: Workload):
    """All steps of a pass in one jitted `lax.scan`; a smaller last batch is a step of its own."""
    from peers import jax_scan

    return jax_scan(workload)
