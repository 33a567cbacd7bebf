"""Child processes around an optimizer: workers of loaders and of joblib, spawned or forked."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

pytestmark = pytest.mark.usefixtures("one_thread")


# -- processes -----------------------------------------------------------------------------------


_TRAIN = """
    import sys
    import torch
    import thalweg.optim as ours
    from torch.utils.data import DataLoader, TensorDataset

    def train(cls, method=None, seed=0, steps=6):
        # In a forked child torch's own arithmetic hangs with more threads than one.
        torch.set_num_threads(1)
        torch.manual_seed(seed)
        net = torch.nn.Linear(300, 60)
        data = TensorDataset(torch.randn(8 * steps, 300), torch.randn(8 * steps, 60))
        workers = {} if method is None else {"num_workers": 2, "multiprocessing_context": method}
        optimizer = cls(net.parameters(), lr=0.01)
        for x, y in DataLoader(data, batch_size=8, **workers):
            optimizer.zero_grad()
            torch.nn.functional.mse_loss(net(x), y).backward()
            optimizer.step()
        return [p.detach().tolist() for p in net.parameters()]

    def check(cls_name, seed=0, method=None):
        theirs = train(getattr(torch.optim, cls_name), seed=seed)
        mine = train(getattr(ours, cls_name), method, seed)
        for p, q in zip(theirs, mine):
            torch.testing.assert_close(torch.tensor(q), torch.tensor(p), rtol=4e-5, atol=4e-6)
        return seed
"""


def script(folder: Path, body: str) -> str:
    """Run a program in a file of its own, which spawned children can import."""
    file = folder / "program.py"
    file.write_text(dedent(_TRAIN) + dedent(body))
    with subprocess.Popen(
        [sys.executable, file],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as program:
        try:
            out, errors = program.communicate(timeout=120)
        except subprocess.TimeoutExpired:
            os.killpg(program.pid, signal.SIGKILL)  # its children too, who hold the pipes open
            raise
    assert program.returncode == 0, errors[-4000:]
    return out


needs_fork = pytest.mark.skipif(sys.platform == "win32", reason="there is no fork on Windows")


def test_data_loader_workers_are_spawned_between_steps(tmp_path: Path) -> None:
    out = script(
        tmp_path,
        """
        if __name__ == "__main__":
            check("Adam", method="spawn")
            print("done")
    """,
    )
    assert out == "done\n"


@needs_fork
def test_children_of_the_loader_step_optimizers_of_their_own(tmp_path: Path) -> None:
    """A data set that trains, in processes forked after the parent has stepped."""
    out = script(
        tmp_path,
        """
        class Training(torch.utils.data.Dataset):
            def __len__(self):
                return 4
            def __getitem__(self, k):
                return check(("Adam", "SGD", "RMSprop", "NAdam")[k], seed=k)

        if __name__ == "__main__":
            check("Adam")
            loader = DataLoader(Training(), num_workers=2, multiprocessing_context="fork")
            print([int(k) for k in loader])
            check("Adam")
    """,
    )
    assert out == "[0, 1, 2, 3]\n"


@pytest.mark.parametrize("backend", ["loky", pytest.param("multiprocessing", marks=needs_fork)])
def test_joblib_children_train(backend: str, tmp_path: Path) -> None:
    """As a grid search of scikit-learn does: children train, the parent trains before and after."""
    out = script(
        tmp_path,
        f"""
        from joblib import Parallel, delayed

        if __name__ == "__main__":
            check("Adam")
            names = ("Adam", "SGD", "RMSprop", "AdamW")
            jobs = (delayed(train)(getattr(ours, name), seed=k) for k, name in enumerate(names))
            results = Parallel(n_jobs=2, backend={backend!r})(jobs)
            for k, (name, mine) in enumerate(zip(names, results)):
                theirs = train(getattr(torch.optim, name), seed=k)
                for p, q in zip(theirs, mine):
                    torch.testing.assert_close(
                        torch.tensor(q), torch.tensor(p), rtol=4e-5, atol=4e-6
                    )
            check("Adam")
            print(len(results))
    """,
    )
    assert out == "4\n"
