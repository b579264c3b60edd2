"""Hostile requests among good ones: nothing fails on the server's side, and good requests get their right answers."""

import contextlib
import json
import threading
import time

import pytest

from keras_vit.export.devserver import app
from keras_vit.export.devserver.engine import Engine
from keras_vit.export.devserver.servables import Servables
from tests.export.running import send, start_ours
from tests.hostile import protocols, requests
from tests.hostile.many import drawn
from tests.hostile.storm import CLIENTS, Storm

MEGABYTE = 2**20


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """The toys, exported without the checks."""
    from keras_vit.export.model.source import open_source
    from keras_vit.export.serving import saved_model
    from tests.export.toys import toy_model, write_run

    folder = tmp_path_factory.mktemp("bundle")
    run = write_run(tmp_path_factory.mktemp("run"), toy_model(), number=4)
    saved_model.save(open_source(run), folder / "models/toys/1", top_k=3)
    config = 'model_config_list { config { name: "toys" base_path: "/models/toys" } }'
    (folder / "models.config").write_text(config)
    return folder, [path.read_bytes() for path in sorted((run / "held_out").iterdir())]


@contextlib.contextmanager
def in_a_thread(folder):
    """The address of a server in this process, and that of gRPC."""
    servables = Servables(folder)
    servables.refresh()
    engine, patience = Engine(servables), app.Patience(5, 1)
    with app.listen("127.0.0.1", 0) as listening, contextlib.closing(
        app.listen_to_grpc(engine, "127.0.0.1", 0, patience)
    ) as beside:
        server = app.http_server(app.application(engine), patience, beside.begin_to_end)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield listening.getsockname(), f"127.0.0.1:{beside.port}"
        finally:
            server.should_exit = True
            thread.join()
            servables.close()


def test_hostile_requests_among_good_ones(bundle, caplog):
    folder, images = bundle
    valid = protocols.Call(protocols.METHODS[0], protocols.valid_messages(images)[0])  # few of so few drawn ones are
    with in_a_thread(folder) as addresses:
        with contextlib.closing(Storm(*addresses, images)) as storm:
            assert storm.problems([*of_all_protocols(images, 120), valid]) == []
    assert {200, 400, "OK", "INVALID_ARGUMENT"} <= set(storm.statuses) and len(storm.asked) == 5
    assert not caplog.records


def of_all_protocols(images, count):
    """Hostile exchanges: REST's, the Open Inference Protocol's and gRPC's calls in turn, then a few for gRPC's port."""
    few = count // 20
    third = (count - few) // 3
    in_turn = zip(
        drawn(requests.exchanges(images), third),
        drawn(protocols.exchanges(images), third),
        drawn(protocols.calls(images), third),
    )
    return [one for each in in_turn for one in each] + [("grpc", one) for one in drawn(protocols.connections(), few)]


@pytest.fixture
def process(bundle, tmp_path):
    with open(tmp_path / "log", "w") as log:
        running = start_ours(bundle[0], log)
        yield running, tmp_path / "log"
        running.process.kill()
        running.process.wait()


def address_of(running):
    host, port = running.url.removeprefix("http://").split(":")
    return host, int(port)


@pytest.mark.slow
def test_many_hostile_requests_then_sigterm_with_clients_that_hang(bundle, process):
    running, log = process
    images = bundle[1]
    storm = Storm(address_of(running), running.grpc, images)
    exchanges = of_all_protocols(images, 24_000)
    assert storm.problems(exchanges[:1000]) == []
    before = running.memory()
    assert storm.problems(exchanges) == []
    grown = (running.memory() - before) / MEGABYTE
    print(
        f"{storm.asked.total()} good requests, {storm.statuses}, {before / MEGABYTE:.0f} MiB, then {grown:+.0f} MiB"
    )  # pytest -rP
    assert grown < 100 and "Traceback" not in log.read_text()

    storm.release()
    body = requests.predict(instances=[requests.b64(image) for image in images] * 8)
    for content in (b"", b"G", requests.PREDICT, body[:-1], requests.STATUS, body, body, body):
        storm.exchange(requests.Exchange(content, "hang"))
    for content in protocols.valid_messages(images):
        storm.exchange(protocols.Call(protocols.METHODS[0], content, "hang"))
    began = time.monotonic()
    running.process.terminate()
    assert running.process.wait(15) in (0, -15)
    print(f"ended after {time.monotonic() - began:.1f} s")
    storm.close()


@pytest.mark.slow
def test_large_bodies_leave_no_memory_behind(bundle, process):
    """Bodies of up to 20 MB, from 8 clients: an eighth of them at once, and later again no more than that."""
    running, _ = process
    noise = "QUJD" * (20 * MEGABYTE // 4 - 10)
    sizes = (1000, MEGABYTE, 5 * MEGABYTE, len(noise))
    bodies = [json.dumps({"instances": [{"b64": noise[:size]}]}).encode() for size in sizes]
    bodies += [bodies[-1][:-1], json.dumps({"instances": [[1.5, 2.5] * MEGABYTE]}).encode()]

    def ask(number):
        with running.connect() as connection:
            for place in range(number):
                expected = 200 if place % len(bodies) < len(sizes) else 400
                assert send(connection, "/v1/models/toys:predict", bodies[place % len(bodies)])[0] == expected

    def memory_after(number):
        threads = [threading.Thread(target=ask, args=(number // CLIENTS,)) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        time.sleep(2)  # polls, after which free memory is given back
        return running.memory() / MEGABYTE

    first, then = memory_after(500), memory_after(1500)
    print(f"{first:.0f} MiB after 500 requests, {then:.0f} after 1,500 more")  # pytest -rP
    assert then < first + 50
