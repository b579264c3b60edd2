"""`keras-vit push` shows what would go up, pushes it, and what is wrong is one sentence."""

import pytest

from keras_vit.cli import main as command
from tests import hub_server
from tests.export.hub.runs import SECRET, write_run
from tests.hub_server import TOKEN

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # huggingface_hub's, of its httpx2


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("run"))


@pytest.fixture
def server(monkeypatch, tmp_path):
    with hub_server.serving(monkeypatch, tmp_path / "cache", TOKEN) as server:
        yield server


def test_a_dry_run_shows_files_and_card(server, run, capsys):
    assert command.main(["push", str(run), "someone/net", "--dry-run", "--license", "mit", "--revision", "v2"]) == 0
    printed = capsys.readouterr().out
    size = (run / "model.keras").stat().st_size
    assert "hf://someone/net\n" in printed and f"{size:,} bytes" in printed and "license: mit" in printed
    assert "top-1 accuracy" in printed and "hf://someone/net@v2" in printed and SECRET not in printed
    assert server.requests == []


def test_it_pushes_and_predict_takes_the_reference(server, run, capsys):
    assert command.main(["push", str(run), "someone/net", "--no-measure", "--private", "--message", "first"]) == 0
    assert f"{server.url}/someone/net/commit/" in capsys.readouterr().out
    assert server.repositories["someone/net"].private and server.repositories["someone/net"].messages[-1] == "first"
    image = str(run / "held_out" / "0.png")
    assert command.main(["predict", str(run), image]) == 0
    expected = capsys.readouterr().out
    assert command.main(["predict", "hf://someone/net", image]) == 0
    assert capsys.readouterr().out == expected
    assert command.main(["validate", "hf://someone/net"]) == 1  # its test images did not go up
    assert "hf://someone/net is not a run folder with test images; give --data-dir" in capsys.readouterr().err


def test_errors_are_one_sentence(server, run, monkeypatch, capsys):
    server.add("someone/net", {"model.keras": b""})
    assert command.main(["push", str(run), "someone/net", "--no-measure"]) == 1
    assert "someone/net has files already: model.keras. With --update" in capsys.readouterr().err
    monkeypatch.delenv("HF_TOKEN")
    assert command.main(["push", str(run), "someone/net"]) == 1
    assert "There is no token" in capsys.readouterr().err
