"""Races on a Ray cluster: the records of a race on one machine, whatever happens to its nodes.

Ray leaves sockets and warnings of its own behind, so every program here is a process of its own.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from thalweg.cli import main
from thalweg.errors import UsageError
from thalweg.racing import Cluster, race

here = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed")

# A task whose training tells where it happens, and takes its time in a process of Ray's.
TASK = """
    import os, sys, time
    import numpy as np
    import thalweg as tw
    import torch
    from torch import nn
    import helpers

    X = np.random.default_rng(0).normal(size=(48, 3)).astype("float32")

    def model():
        ray = sys.modules.get("ray")
        if ray is not None and ray.is_initialized() and "THALWEG_LOG" in os.environ:
            context = ray.get_runtime_context()
            if context.worker.mode == ray.WORKER_MODE:
                with open(os.environ["THALWEG_LOG"], "a") as log:
                    print(context.get_node_id(), context.get_task_id(), file=log)
                time.sleep(0.1)
        return nn.Sequential(helpers.Dropping(), nn.Linear(3, 1))

    task = tw.Task(model=model, train=(X, X.sum(axis=1)), batch_size=12, epochs=2)

    @tw.rule
    def mine(theta, g, t, *, lr=0.1):
        return theta - lr * helpers.SIGN * g

    class Stepping(torch.optim.Optimizer):
        def __init__(self, params, lr=0.1):
            super().__init__(params, {"lr": lr})

        @torch.no_grad()
        def step(self, closure=None):
            for p in self.param_groups[0]["params"]:
                p.sub_(p.grad, alpha=helpers.SIGN * self.param_groups[0]["lr"])
"""
HELPERS = """
    from torch import nn

    SIGN = 1.0

    class Dropping(nn.Dropout):
        def forward(self, x):
            return super().forward(x) * SIGN
"""
WAY = """
    import json, os, sys, threading, time, warnings
    from pathlib import Path
    import torch
    import thalweg as tw
    from thalweg.cli.load import load_entrant, load_task
    from thalweg.racing import run
    from thalweg.training.execution.plan import ExecutionPlan

    torch.set_num_threads(1)
    run.choose = lambda *args: ExecutionPlan("lanes", 4)
    folder = Path(sys.argv[1])
    task, mine = load_task(f"{folder}/my_task.py"), load_entrant(f"{folder}/my_task.py:mine")
    stepping = load_entrant(f"{folder}/my_task.py:Stepping")
    names = ["sgd", "adam", mine, stepping]
    small = {"optimizers": names, "budget": 4, "seeds": 4, "progress": False}
"""
KILLED = """
    import warnings
    warnings.simplefilter("ignore")  # what Ray says to those who call it
    import ray
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    log = Path(os.environ["THALWEG_LOG"])
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    victim = cluster.add_node(num_cpus=1)
    name = victim.node_id
    cluster.wait_for_nodes()

    def kill():
        while not log.exists() or name not in log.read_text():
            time.sleep(0.02)
        cluster.remove_node(victim, allow_graceful=False)

    threading.Thread(target=kill, daemon=True).start()
    for shared in (False, True):
        wanted = tw.racing.Cluster(cluster.address, shared=shared)
        found = tw.race(task, out=folder / f"ray-{shared}", ray=wanted, **small)
        print("RESULT", json.dumps([name, found.document["setting"]["executor"]]))
    cluster.shutdown()
"""
LOCAL = """
    tw.race(task, out=folder / "local", **small)
"""


def program(folder: Path, *parts: str) -> subprocess.Popen[str]:
    for file, text in (("my_task.py", TASK), ("helpers.py", HELPERS), ("run.py", "".join(parts))):
        (folder / file).write_text(textwrap.dedent(text), encoding="utf-8")
    return subprocess.Popen(
        [sys.executable, folder / "run.py", folder],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "THALWEG_LOG": str(folder / "log")},
    )


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "records").iterdir()}


@here
def test_a_node_that_dies_changes_no_record_and_code_travels_by_value(tmp_path: Path) -> None:
    done = program(tmp_path, WAY, LOCAL, KILLED)
    output, said = done.communicate(timeout=300)
    assert done.returncode == 0, said
    # Ray's nodes of this process speak here too.
    lines = [x.removeprefix("RESULT") for x in output.splitlines() if x.startswith("RESULT")]
    (name, executor), _ = map(json.loads, lines)
    assert "on Ray" in executor
    assert "2 at once on 2 nodes" in executor
    nodes = [line.split() for line in (tmp_path / "log").read_text("utf-8").splitlines()]
    # The dead node had begun a group, which the other one began again under the same name.
    begun = {task for node, task in nodes if node == name}
    assert begun & {task for node, task in nodes if node != name}
    local = files(tmp_path / "local")
    assert len(local) >= 4
    assert files(tmp_path / "ray-False") == local
    assert files(tmp_path / "ray-True") == local


INTERRUPTED = """
    from thalweg.cli import main

    if __name__ == "__main__":
        sys.exit(main(["race", f"{folder}/my_task.py", "--optimizers", "sgd,adam", "--epochs",
                       "100000", "--out", str(folder / "out"), "--ray", "local"]))
"""


@here
def test_an_interrupt_cancels_the_tasks_and_ends_the_cluster(tmp_path: Path) -> None:
    process = program(tmp_path, WAY, INTERRUPTED)
    try:
        deadline = time.monotonic() + 120
        while not (tmp_path / "log").exists() and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
        assert process.returncode == 130, said
        kept = (
            r"no run was finished, so none is kept|\d+ of about \d+ runs are kept in .*; the same"
        )
        assert re.match(f"thalweg race: interrupted; ({kept})", said.splitlines()[-1])
        assert "Traceback" not in said
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def test_bad_clusters_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for given, message in (
        ({"address": ""}, "ray='' is no address"),
        ({"cpus": 0}, "cpus=0 of the cluster must be a number from"),
        ({"gpus": -1}, "gpus=-1 of the cluster must be"),
        ({"retries": 0}, "retries=0 must be a whole number"),
    ):
        with pytest.raises(UsageError, match=message):
            Cluster(**given)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="need out, a folder they all see"):
        race("wine-mlp", ray=Cluster(shared=True))
    assert main(["race", "wine-mlp", "--ray-gpus", "1"]) == 2
    assert "--ray-gpus needs --ray ADDRESS" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r"pip install 'thalweg\[ray\]'"):
        race("wine-mlp", ray="local")


@here
@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_a_cluster_that_nobody_started_is_told_in_one_line(scheme: str, tmp_path: Path) -> None:
    with socket.socket() as taken:  # bound, and listened to by nobody
        taken.bind(("127.0.0.1", 0))
        address = f"{scheme}127.0.0.1:{taken.getsockname()[1]}"
        given = [sys.executable, "-m", "thalweg", "race", "wine-mlp", "--ray", address]
        done = subprocess.run(given, capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert f"ray='{address}': no cluster answers (" in line
    assert "Connection refused" in line
