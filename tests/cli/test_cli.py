"""The command line on real files: what it prints, and how it exits."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import click
import numpy as np
import pytest

from motionseek.cli import VERBS, cli, main
from motionseek.cli._common import table
from motionseek.indexer.store import Store
from motionseek.types import PoseTrack


def run(capsys, *args):
    """(exit code, stdout, stderr) of one call."""
    with pytest.raises(SystemExit) as exit_:
        main([str(a) for a in args])
    out, err = capsys.readouterr()
    return exit_.value.code or 0, out, err


def commands(group, path=()):
    ctx = click.Context(group)
    for name in group.list_commands(ctx):
        command = group.get_command(ctx, name)
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


@pytest.mark.parametrize(
    ("path", "command"), list(commands(cli)), ids=lambda x: " ".join(x) if type(x) is tuple else ""
)
def test_every_verb_has_help_that_ends_with_an_example(path, command):
    assert command.help
    assert command.help.strip().splitlines()[-1].strip().startswith("motionseek ")
    assert "Example:" in command.help
    for option in command.params:
        assert not isinstance(option, click.Option) or option.help, f"{path}: {option.name} has no help"
    if not isinstance(command, click.Group):
        assert any("--json" in option.opts for option in command.params)


def test_help_and_version(capsys):
    code, out, _ = run(capsys, "--help")
    assert code == 0
    assert all(verb in out for verb in VERBS)
    assert run(capsys, "--version")[0] == 0


def test_help_imports_nothing_heavy():
    script = (
        "import sys; from motionseek.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'lancedb', 'numpy.linalg', 'faiss', 'scipy', 'pyarrow'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy - {'numpy.linalg'} else 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "args",
    [
        ("search",),
        ("search", "jumping", "--imu", "x.csv"),
        ("search", "jumping", "--archive", "no/such/place"),
        ("search", "--imu", "no/such.csv", "--archive", "no/such/place"),
        ("search", "jumping", "--target", "smell"),
        ("search", "jumping", "-k", "0"),
        ("sync", "no/such.csv", "no/such.json"),
        ("sync", "a.csv", "b.csv", "c.json", "--placement", "left_wrist"),
        ("index", "x", "--model", "no-such-model"),
        ("models", "show", "no-such-model"),
        ("verify", "--archive", "no/such/place"),
        ("dance",),
    ],
)
def test_wrong_use_is_2_without_a_traceback(capsys, tmp_path, monkeypatch, args):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, *args)
    assert code == 2
    assert "Error" in err
    assert "Traceback" not in err
    assert out == ""
    code, out, _ = run(capsys, *args, "--json")
    assert code == 2
    assert set(json.loads(out)["error"]) == {"type", "message"}


def test_search_in_an_empty_archive(capsys, tmp_path):
    Store.open(tmp_path / "a", create=True)
    code, out, _ = run(capsys, "search", "jumping", "--archive", tmp_path / "a", "--json")
    assert code == 0
    said = json.loads(out)
    assert said["hits"] == []
    assert {"query", "target", "hits", "offset", "more", "timings_ms", "index"} == set(said)
    assert run(capsys, "search", "jumping", "-a", tmp_path / "a")[1] == "nothing found\n"
    code, out, _ = run(capsys, "verify", "-a", tmp_path / "a", "--json")
    assert (code, json.loads(out)["findings"]) == (0, [])


@pytest.fixture
def walk(tmp_path):
    """A wrist's csv and a recording with the same forearm in its keypoints, 2.5 s later on its clock."""
    rng = np.random.default_rng(0)
    turn, phase = 2 * np.pi * rng.uniform(0.1, 1.6, 24), rng.uniform(0, 2 * np.pi, 24)
    t_s = np.arange(0, 20, 0.02)
    rate = (0.5 * np.cos(np.multiply.outer(t_s, turn) + phase)).sum(-1)
    columns = np.column_stack([t_s, np.zeros((len(t_s), 2)), np.full(len(t_s), 9.81), np.outer(rate, [0.6, 0, 0.8])])
    header = "t_s,ax_mps2,ay_mps2,az_mps2,gx_rps,gy_rps,gz_rps"
    np.savetxt(tmp_path / "watch.csv", columns, delimiter=",", header=header, comments="")
    seen_s = np.arange(2, 18, 1 / 30)
    angle = (0.5 / turn * np.sin(np.multiply.outer(seen_s, turn) + phase)).sum(-1)
    xy = np.tile(np.linspace([100, 50], [200, 400], 17), (len(seen_s), 1, 1))
    xy[:, 7] = [300, 200]
    xy[:, 9] = xy[:, 7] + 80 * np.stack([np.sin(angle), np.cos(angle)], axis=1)
    track = PoseTrack(seen_s + 2.5, xy, np.ones((len(seen_s), 17)), (640, 480))
    from motionseek.demo.recordings import write_pose

    write_pose(tmp_path / "pose.json", track)
    manifest = {"pose": [{"path": "pose.json"}]}
    (tmp_path / "recording.json").write_text(json.dumps(manifest))
    return tmp_path


def test_sync_of_files(capsys, walk):
    code, out, _ = run(
        capsys, "sync", walk / "watch.csv", walk / "recording.json", "--placement", "left_wrist", "--json"
    )
    said = json.loads(out)
    assert code == 0
    assert said["offset_s"] == pytest.approx(2.5, abs=0.01)
    assert {"offset_s", "drift_ppm", "confidence", "aliases_s", "method", "parts"} <= set(said)
    code, out, _ = run(capsys, "sync", f"{walk / 'watch.csv'}@3-16", walk / "recording.json", "-p", "left_wrist")
    assert code == 0
    assert "offset +2.50" in out
    code, out, err = run(capsys, "sync", f"{walk / 'watch.csv'}@30-60", walk / "recording.json")
    assert code == 2
    assert "lies outside" in err


def test_recordings_are_listed_and_called_by_where_they_lie(capsys, tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    for folder in ("mon", "tue"):
        (tmp_path / folder).mkdir()
        for name in ("watch", "phone"):
            table = np.c_[np.arange(400) / 50, rng.normal(0, 0.5, (400, 3)) + np.array([0, 9.81, 0])]
            header = "t_s,ax_mps2,ay_mps2,az_mps2"
            np.savetxt(tmp_path / folder / f"{name}.csv", table, delimiter=",", header=header, comments="")
    held = [{"path": "watch.csv", "placement": "left_wrist"}, {"path": "phone.csv", "placement": "left_wrist"}]
    (tmp_path / "mon" / "recording.json").write_text(json.dumps({"imu": held, "labels": ["monday"]}))
    (tmp_path / "tue" / "odd.csv").write_text("a,b\n1,2\n")
    archive = tmp_path / "archive"
    assert run(capsys, "index", tmp_path, "-a", archive, "--workers", 1)[0] == 1
    said = json.loads(run(capsys, "recordings", "-a", archive, "--json")[1])["recordings"]
    listed = {row["uris"][0].removeprefix(f"{tmp_path}/"): row for row in said}
    assert {name: row["status"] for name, row in listed.items()} == {
        "mon": "ok",
        "tue/watch.csv": "ok",
        "tue/phone.csv": "ok",
        "tue/odd.csv": "failed",
    }
    assert "has no column t_s" in listed["tue/odd.csv"]["reason"]
    assert [s["placement"] for s in listed["mon"]["streams"]] == ["left_wrist", "left_wrist"]
    code, out, _ = run(capsys, "recordings", "-a", archive, "--status", "failed")
    assert code == 0
    assert len(out.splitlines()) == 2
    assert f"{tmp_path}/tue/odd.csv" in out
    assert run(capsys, "recordings", "-a", archive, "--label", "sunday")[1] == "nothing found\n"

    wanted = listed["tue/watch.csv"]["recording_id"]
    monkeypatch.chdir(tmp_path / "tue")
    for name in (wanted, wanted[:12], "watch.csv", "tue/watch.csv", tmp_path / "tue" / "watch.csv"):
        said = json.loads(run(capsys, "search", "x", "-t", "imu", "-a", archive, "--recording", name, "--json")[1])
        assert {hit["recording_id"] for hit in said["hits"]} == {wanted}
    for wrong in ("odd.csv", "", "atch.csv"):
        code, _, err = run(capsys, "search", "x", "-t", "imu", "-a", archive, "--recording", wrong)
        assert code == 2
        assert "no recording" in err
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mon" / "recording.json").rename(tmp_path / "mon" / "kept.json")
    assert run(capsys, "index", tmp_path / "mon", "-a", archive, "--workers", 1)[0] == 0
    code, _, err = run(capsys, "log", "watch.csv", "-a", archive)
    assert code == 2
    assert "2 recordings that are called 'watch.csv'" in err
    # Two sensors at one wrist are one person's.
    assert run(capsys, "log", "mon/recording.json", "-a", archive)[0] == 0


def test_models_are_listed(capsys):
    code, out, _ = run(capsys, "models", "list", "--json")
    assert code == 0
    for about in json.loads(out)["models"]:
        assert {"name", "fingerprint", "encoders", "card"} == set(about)


def test_what_the_system_refuses_is_2_without_a_traceback(capsys, tmp_path):
    (tmp_path / "file").touch()
    code, out, err = run(capsys, "demo", tmp_path / "file" / "demo")
    assert (code, out) == (2, "")
    assert err.splitlines()[-1].startswith("Error: ")
    code, out, _ = run(capsys, "demo", tmp_path / "file" / "demo", "--json")
    assert (code, set(json.loads(out)["error"])) == (2, {"type", "message"})


def test_who_stops_reading_is_no_failure():
    verb = [sys.executable, "-c", "from motionseek.cli import main; main(['models', 'list'])"]
    with subprocess.Popen(verb, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as called:
        called.stdout.close()
        assert called.stderr.read() == ""
    assert called.returncode == 0


def test_a_row_of_a_piped_table_is_a_line(capsys):
    table("", ("caption", "score"), [("she walks\nand\r\nsits", "0.5"), ("x", "1")])
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["caption", "score"],
        ["she", "walks", "and", "sits", "0.5"],
        ["x", "1"],
    ]


def test_a_terminal_without_unicode_gets_question_marks_and_json_in_ascii():
    def called(*args):
        script = f"from motionseek.cli import main; main({list(args)!r})"
        env = {**os.environ, "PYTHONIOENCODING": "latin-1"}
        return subprocess.run([sys.executable, "-c", script], capture_output=True, env=env, check=False)

    shown = called("search", "--help")
    assert (shown.returncode, shown.stderr) == (0, b"")
    assert b"FOLDER|s3://?" in shown.stdout
    refused = called("search", "跳", "--archive", "走", "--json")
    assert refused.returncode == 2
    assert "走 is no motionseek archive" in json.loads(refused.stdout)["error"]["message"]
    assert b"Error: ? is no motionseek archive" in refused.stderr
