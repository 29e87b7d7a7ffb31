"""OTT-JAX's side of ``alignment_ott.py``, in an environment of its own: times what it is told to on standard input.

A line is the path of a file of clouds and a number of runs; the answer is a line of JSON: milliseconds of processor
time of each run, the value, and the file of the gradient.
"""

from __future__ import annotations

import json
import sys
import time

import jax
import numpy as np
from ott.geometry import costs, pointcloud
from ott.problems.linear import linear_problem
from ott.solvers.linear import sinkhorn


def solver(reg: float, threshold: float):
    solve = sinkhorn.Sinkhorn(lse_mode=True, threshold=threshold)

    def cost(x: jax.Array, y: jax.Array) -> jax.Array:
        cloud = pointcloud.PointCloud(x, y, cost_fn=costs.Cosine(), epsilon=reg)
        return solve(linear_problem.LinearProblem(cloud)).reg_ot_cost

    return jax.jit(jax.value_and_grad(cost))


def main() -> None:
    found = {}
    for line in sys.stdin:
        path, runs = line.split()
        if path not in found:
            with np.load(path) as clouds:
                x, y = jax.numpy.asarray(clouds["x"]), jax.numpy.asarray(clouds["y"])
                run = solver(float(clouds["reg"]), float(clouds["threshold"]))
            value, gradient = jax.block_until_ready(run(x, y))  # compiles
            np.save(path + ".ott.npy", np.asarray(gradient))
            found[path] = run, x, y, float(value)
        run, x, y, value = found[path]
        times = []
        for _ in range(int(runs)):
            start = time.process_time_ns()
            jax.block_until_ready(run(x, y))
            times.append((time.process_time_ns() - start) / 1e6)
        print(json.dumps({"ms": times, "value": value, "gradient": path + ".ott.npy"}), flush=True)


if __name__ == "__main__":
    main()
