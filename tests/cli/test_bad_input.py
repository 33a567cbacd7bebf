"""Bad input of every kind: each line below ends in one line that says what is wrong, no traceback.

Nothing is trained for any of them.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from thalweg import cli
from thalweg.errors import UsageError
from thalweg.racing import start
from thalweg.tasks import find

FILES = {
    "rule.py": "import thalweg as tw\n@tw.rule\ndef mine(theta, g, t, *, lr=0.1):\n"
    "    return theta - lr * g\n@tw.rule\ndef other(theta, g, t, *, lr=0.1):\n"
    "    return theta - lr * g\n",
    "syntax.py": "def f(:\n",
    "empty.py": "",
    "text.txt": "hello",
    "data.csv": "a,b\n1,2\n",
    "net.py": "from torch import nn\ndef net():\n    return nn.Linear(1, 2)\nvalue = 3\n",
    "folder/race.json": "{not json",
}

LINES = """
rac
--nothing
race
race ''
race ' '
race wine
race wine-mlp wine-mlp
race wine-mlp:x
race wine-mlp:x=1
race quadratic:dim=x
race quadratic:dim=-1
race quadratic:noise=nan
race none.py
race syntax.py
race empty.py
race text.txt
race binary.py
race folder
race folder.py
race rule.py
race net.py:value
race net.py:net
race wine-mlp --optimizers adamm
race wine-mlp --optimizers ,
race wine-mlp --optimizers adam,Adam
race wine-mlp --optimizers rule.py
race wine-mlp --optimizers rule.py:x
race wine-mlp --optimizers keras:adan
race wine-mlp --optimizers numpy:array
race wine-mlp --optimizers torch.optim:Adm
race wine-mlp --budget 0
race wine-mlp --budget 1.5
race wine-mlp --budget many
race wine-mlp --budget ''
race wine-mlp --seeds -1
race wine-mlp --seeds 9999999
race wine-mlp --seed -1
race wine-mlp --seed x
race wine-mlp --epochs 0
race wine-mlp --epochs nan
race wine-mlp --batch-size 0
race wine-mlp --batch-size 100000
race wine-mlp --tune beta
race wine-mlp --tune ''
race wine-mlp --sampler gird
race wine-mlp --sampler grid --tune all
race wine-mlp --lr 0
race wine-mlp --lr -1
race wine-mlp --lr abc
race wine-mlp --lr inf
race wine-mlp --lr adm=1
race wine-mlp --lr 1,1
race wine-mlp --lr 0.1 --budget 3
race wine-mlp --lr 0.1 --search adam.lr=1e-3..1
race wine-mlp --search adam
race wine-mlp --search adam.lr
race wine-mlp --search adam.lr=1
race wine-mlp --search adam.lr=1..0.1
race wine-mlp --search adam.beta7=0.1..0.2
race wine-mlp --search adm.lr=0.1..0.2
race wine-mlp --search adam.beta1=0.5..1.5
race wine-mlp --search adam.beta1=2,3
race wine-mlp --search adam.weight_decay=-1,0
race wine-mlp --search adam.schedule=1..2
race wine-mlp --schedule cos
race wine-mlp --warmup 2
race wine-mlp --warmup -0.1
race wine-mlp --warmup x
race wine-mlp --clip 0
race wine-mlp --clip -1
race wine-mlp --clip nan
race wine-mlp --order shuffle
race wine-mlp --device tpu
race wine-mlp --ray-cpus 2
race wine-mlp --ray-gpus x --ray auto
race wine-mlp --time 0
race wine-mlp --time soon
race wine-mlp --time 1ms
race wine-mlp --time -5m
race wine-mlp --name ''
race wine-mlp spiral-mlp --name x
race wine-mlp --target x
race wine-mlp --validation data.csv
race wine-mlp --train data.csv
race net.py:net --train none.csv --target b
race net.py:net --train data.csv
race net.py:net --train data.csv --target z
race net.py:net --train data.csv --target b
race net.py --train data.csv --target b
race net.py:nett --train data.csv
race wine-mlp --init maybe
race wine-mlp --out text.txt
race wine-mlp --out ''
draw
draw beal
draw beale
draw beale adm
draw beale adam --start 1
draw beale adam --start a,b
draw beale adam --start nan,1
draw beale adam --steps 0
draw beale adam --steps 1e9
draw beale adam --steps 9999999
draw beale adam --lr 0
draw beale adam --lr sgd=1
draw beale adam --lr adam=x
draw beale adam --noise -1
draw beale adam --noise nan
draw beale adam --seed -1
draw beale adam --out x.bmp
draw beale adam --out none/x.png
draw beale adam --out folder
draw beale adam --view 1,2
draw beale adam --view 1,1,1,1
draw beale adam adam
draw rule.py:mine adam
draw beale text.txt
rules adm
rules keras:none
rules --latex
rules adam --latex --kernel
rules rule.py
rules none.py:x
rules adam sgd
report
report none
report text.txt
report folder
export folder
export none --to csv
export folder --to exel
schema rac
init x.txt
init none/x.py
init net.py
cache now
cache --clean
--completion csh
bench --rules adm
bench --threads 0
play --nothing
""".strip().splitlines()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with files that are no tasks, and races that must not begin."""

    def run(self: object) -> None:
        raise AssertionError("a race began")

    monkeypatch.setattr(start.Racing, "run", run)
    monkeypatch.chdir(tmp_path)
    for name, text in FILES.items():
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(text, encoding="utf-8")
    Path("binary.py").write_bytes(b"\x00\xff\xfe")
    return tmp_path


@pytest.mark.parametrize("line", LINES)
def test_bad_input_ends_in_one_line(
    line: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = shlex.split(line)
    before = sorted(here.rglob("*"))
    try:
        code: object = cli.main(arguments)
    except SystemExit as ended:
        code = ended.code
    out, err = capsys.readouterr()
    assert code in (1, 2)
    assert out == ""
    assert len(err.splitlines()) == 1, err
    assert re.match(r"thalweg(?: \w+)?: ", err)
    # Some part of what was typed, or of what is missing, is named.
    words = [word for each in arguments for word in re.split(r"[=:,]", each) if word]
    assert any(word.lstrip("-") in err.partition(": ")[2] for word in words) or "name" in err
    made = set(here.rglob("*")) - set(before)
    assert not [path for path in made if "__pycache__" not in path.parts]


def test_data_that_do_not_fit_into_memory_are_said_so() -> None:
    with pytest.raises(UsageError, match="dim=1000000000': its data do not fit into memory"):
        find("quadratic:dim=1e9")
