"""The pointer, what it keeps, and the store under it: a directory, and an S3 server that is really there."""

from __future__ import annotations

import os
import pickle
import signal
import threading
import time
from pathlib import Path

import pytest
from pydantic import ValidationError

from snowcoder.base import UserError
from tests.train.s3 import Server, Throttle, free_port, throttled, through
from train import storage as storage_module
from train.checkpoints import (
    FOLDER,
    Pointer,
    changes,
    check_pointer,
    checkpoint_storage,
    fetched,
    prune,
    read_pointer,
    write_pointer,
)
from train.config import TrainConfig
from train.storage import Storage

POINTER = Pointer(
    position=6,
    checkpoint=f"{FOLDER}/step-00000006-001",
    fingerprint={"order": "f", "seed": "1"},
    world_size=2,
    global_batch=4,
    seq_len=8,
    zero_stage=1,
    precision="fp32",
    kept=(f"{FOLDER}/step-00000002-000",),
)


@pytest.fixture(scope="module")
def server():
    made = Server()
    made.start()
    os.environ.setdefault("AWS_ACCESS_KEY_ID", "test")
    os.environ.setdefault("AWS_SECRET_ACCESS_KEY", "test")
    yield made
    made.stop()


@pytest.fixture(params=["directory", "s3"])
def store(request, tmp_path) -> Storage:
    if request.param == "directory":
        return Storage(tmp_path / "store")
    server = request.getfixturevalue("server")
    return server.bucket(f"bucket-{time.monotonic_ns()}") / "run"


def files(directory: Path) -> Path:
    (directory / "state").mkdir(parents=True)
    (directory / "state" / "rank-0.bin").write_bytes(os.urandom(70_000))
    (directory / "latest").write_text("state")
    return directory


def test_what_goes_up_comes_down(store, tmp_path):
    made = files(tmp_path / "made")
    store.check_writable()
    store.upload(made, "checkpoints/a")
    store.upload(made, "checkpoints/b")
    again = pickle.loads(pickle.dumps(store))  # as Ray sends it to a worker
    assert again.names("checkpoints") == ["a", "b"]
    assert again.names("nowhere") == []
    again.download("checkpoints/b", tmp_path / "back")
    for path in made.rglob("*"):
        if path.is_file():
            assert (tmp_path / "back" / path.relative_to(made)).read_bytes() == path.read_bytes()
    store.delete("checkpoints/a")
    store.delete("checkpoints/a")
    assert store.names("checkpoints") == ["b"]
    assert store.read("nothing") is None


def test_the_pointer_survives(store):
    assert read_pointer(store) is None
    write_pointer(store, POINTER)
    assert read_pointer(store) == POINTER


def test_pruning_spares_what_the_pointer_names(store, tmp_path):
    made = files(tmp_path / "made")
    for name in ("step-00000002-000", "step-00000004-000", "step-00000006-001", "step-00000008-000"):
        store.upload(made, f"{FOLDER}/{name}")
    prune(store, POINTER)
    assert store.names(FOLDER) == ["step-00000002-000", "step-00000006-001"]
    with fetched(store, POINTER.checkpoint) as directory:
        assert (directory / "latest").read_text() == "state"


def test_a_store_that_hangs_is_waited_for(server):
    store = server.bucket("patient") / "run"
    store.write("there", b"1")
    server.process.send_signal(signal.SIGSTOP)
    back = threading.Timer(6, lambda: server.process.send_signal(signal.SIGCONT))
    back.start()
    begun = time.monotonic()
    Storage(store.root, patience=60).write("again", b"2")
    assert time.monotonic() - begun > 4
    back.join()
    assert store.read("again") == b"2"
    assert store.read("there") == b"1"


def test_a_store_that_throttles_and_loses_connections_gets_everything(server, tmp_path):
    store = server.bucket("throttled") / "run"
    made = files(tmp_path / "made")
    throttle = Throttle(slow_down=3, cut=5)
    with throttled(server, throttle) as port:
        narrow = through(store, port, patience=60)
        narrow.check_writable()
        narrow.upload(made, "checkpoints/a")
        write_pointer(narrow, POINTER)
        assert read_pointer(narrow) == POINTER
        narrow.download("checkpoints/a", tmp_path / "back")
    assert throttle.slowed > 2
    assert throttle.lost > 0
    assert read_pointer(store) == POINTER
    for path in made.rglob("*"):
        if path.is_file():
            assert (tmp_path / "back" / path.relative_to(made)).read_bytes() == path.read_bytes()


@pytest.mark.timeout(300)
def test_a_store_that_only_throttles_is_told(server):
    store = server.bucket("closed") / "run"
    with (
        throttled(server, Throttle(slow_down=1)) as port,
        pytest.raises(UserError, match=r"cannot write pointer.json .*SLOW_DOWN.* run again"),
    ):
        through(store, port, patience=0.3).write("pointer.json", b"{}")


def test_a_store_that_stays_away_is_told(monkeypatch):
    monkeypatch.setattr(storage_module, "_FIRST_PAUSE", 0.1)
    gone = Storage(f"s3://bucket?scheme=http&endpoint_override=127.0.0.1:{free_port()}", patience=0.3) / "run"
    with pytest.raises(UserError, match=r"cannot write pointer.json .*run again"):
        gone.write("pointer.json", b"{}")
    with pytest.raises(UserError, match=r"not a store that can be opened.*s3://"):
        Storage("nfs5://somewhere").write("x", b"")


def test_a_full_disk_is_told_at_once():
    begun = time.monotonic()
    with pytest.raises(UserError, match=r"/dev/full|cannot"):
        Storage("/dev/full", patience=60).write("pointer.json", b"{}")
    assert time.monotonic() - begun < 5


def test_what_changed_is_named():
    assert changes(POINTER, {"order": "f", "seed": "1"}) == []
    assert changes(POINTER, {"order": "g", "seed": "1", "x": "y"}) == [
        "order was f and is now g",
        "x was None and is now y",
    ]
    where = Storage("somewhere")
    check_pointer(POINTER, TrainConfig(global_batch=4, seq_len=8), where)
    with pytest.raises(UserError, match=r"train.seq_len was 8 and is now 16"):
        check_pointer(POINTER, TrainConfig(global_batch=4, seq_len=16), where)


def test_checkpoints_go_where_they_are_told(tmp_path):
    assert checkpoint_storage(TrainConfig(), "general", tmp_path).root == str(tmp_path)
    cfg = TrainConfig(checkpoint_storage="s3://b/run/")
    assert checkpoint_storage(cfg, "general", tmp_path).root == "s3://b/run/general"


def test_numbers_of_workers_that_divide_the_batch():
    cfg = TrainConfig(global_batch=24, micro_batch=2, num_workers=[1, 6])
    assert (cfg.min_workers, cfg.num_workers) == (1, 6)
    assert cfg.worker_counts == [6, 4, 3, 2, 1]
    assert TrainConfig(global_batch=24, micro_batch=2, num_workers=4).worker_counts == [4]
    with pytest.raises(ValidationError, match=r"at least 3 and at most 2"):
        TrainConfig(global_batch=24, micro_batch=2, num_workers=[3, 2])
    with pytest.raises(ValidationError, match=r"multiple of"):
        TrainConfig(global_batch=24, micro_batch=2, num_workers=[1, 5])
