"""Tests that a `GrowingJson` is valid JSON after every item, even if the disk becomes full."""

import json
import resource

import pytest

from examples.pose.files.growing_json import GrowingJson, holds_only


def test_file_is_valid_json_after_every_item(tmp_path):
    path = tmp_path / "new" / "out.json"
    with GrowingJson(path, {"names": ["é", "b"]}, "items") as file:
        assert not path.exists()
        for count in range(1, 6):
            file.extend([{"n": count, "text": "]}\n"}])
            content = json.loads(path.read_text())
            assert content == {
                "names": ["é", "b"],
                "items": [{"n": n, "text": "]}\n"} for n in range(1, count + 1)],
            }
    assert [entry.name for entry in path.parent.iterdir()] == ["out.json"]


def test_extend_writes_only_its_own_items(tmp_path, monkeypatch):
    written = []
    pwrite = GrowingJson._write
    monkeypatch.setattr(
        GrowingJson, "_write", lambda self, data: (written.append(len(data)), pwrite(self, data))
    )
    with GrowingJson(tmp_path / "out.json", {}, "items") as file:
        for _ in range(300):
            file.extend([{"n": 1}])
    assert max(written) == min(written) < 40
    assert len(json.loads((tmp_path / "out.json").read_text())["items"]) == 300


def test_nothing_is_lost_when_the_disk_is_full(tmp_path):
    path = tmp_path / "out.json"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    done = 0
    with GrowingJson(path, {"names": []}, "items") as file:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4321, limits[1]))
        try:
            with pytest.raises(OSError, match="large"):
                while True:
                    file.extend([{"n": done, "text": 50 * "x"}])
                    done += 1
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert done > 20
        assert [item["n"] for item in json.loads(path.read_text())["items"]] == list(range(done))
        file.extend([{"n": done}])  # Once there is space again.
    assert len(json.loads(path.read_text())["items"]) == done + 1


def test_items_are_written_together_or_not_at_all(tmp_path):
    path = tmp_path / "out.json"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with GrowingJson(path, {}, None) as file:
        file.extend([])
        assert not path.exists()
        file.extend([{"n": 1}, {"n": 2}])
        resource.setrlimit(resource.RLIMIT_FSIZE, (60, limits[1]))
        try:
            with pytest.raises(OSError, match="large"):
                file.extend([{"n": 3}, {"text": 50 * "x"}])  # The first would fit.
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert json.loads(path.read_text()) == [{"n": 1}, {"n": 2}]


def test_values_that_are_not_json_raise(tmp_path):
    with GrowingJson(tmp_path / "out.json", {}, "items") as file:
        file.extend([{"n": 1}])
        with pytest.raises(ValueError, match="JSON"):
            file.extend([{"n": float("nan")}])
    assert json.loads((tmp_path / "out.json").read_text()) == {"items": [{"n": 1}]}


@pytest.mark.parametrize("content", [b"", b"[1]", b"{", b"\xff\xd8\xff", b'{"images": []}', None])
def test_holds_only_checks_the_keys(tmp_path, content):
    path = tmp_path / "a"
    path.write_bytes(content) if content is not None else path.mkdir()
    assert not holds_only(path, {"images", "names"})
    own = tmp_path / "own"
    own.write_text('{"images": [], "names": 1}')
    assert holds_only(own, {"images", "names"})
