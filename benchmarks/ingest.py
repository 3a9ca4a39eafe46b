"""How fast and in how much memory `index` takes recordings in, against reading alone and encoding alone.

    python benchmarks/ingest.py [--films 12] [--recordings 10000] [--long 48] [--turns 3]
        [--out benchmarks/results/ingest.json]

Three kinds of recordings, made up: films of 20 s (1280x720, 30 frames a second, H.264, two worn sensors beside each)
through the starter and a ViT-B/32 of open_clip's, whose weights are random, since only its speed counts; and through
the starter single sensors in csv files, of 8 s at 50 Hz and of half an hour at 100 Hz. Each is run three ways, each in
a process of its own, with the same number of reader processes and of the encoder's threads: `decode`: readers alone,
nothing is done with what they send; `encode`: the encoder alone, on what readers sent before; `index`: all of it, into
an archive with its indexes. Without a GPU readers and encoder share the cores: one is the readers', the rest is the
encoder's, in all three ways.

Seconds leave out loading models; those of `index` have everything else in them, starting the readers too. Ratio:
recorded seconds a second of `index` over those of the slower of the other two, medians of several turns. cpu_s: of the
process that encodes; where other work shares the machine, it says more than the clock.
Memory: peak of the indexing process beyond what it is once the models are loaded and warm, and of a reader process;
beside that of 10 recordings. About half an hour on two cores; of what is set to 0 --out keeps what it holds.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from machine import machine

FILM_S, IMU_S, LONG_S, LONG_HZ = 20.0, 8.0, 1800.0, 100.0
HEADER = "t_s,ax_mps2,ay_mps2,az_mps2,gx_rps,gy_rps,gz_rps"
ROOT = Path(__file__).parents[1]


def sensor(rng: np.random.Generator, duration_s: float, rate_hz: float = 50.0) -> npt.NDArray[np.float64]:
    """(L, 7): time, and a sensor that is swung about."""
    t_s = np.arange(round(duration_s * rate_hz)) / rate_hz
    swing = np.sin(2 * np.pi * rng.uniform(0.3, 2.0, (1, 6)) * t_s[:, None] + rng.uniform(0, 6, (1, 6)))
    x = swing * [3, 3, 3, 2, 2, 2] + [0, 0, 9.8, 0, 0, 0] + rng.normal(0, 0.05, (len(t_s), 6))
    return np.column_stack([t_s, x])


def write_csv(path: Path, table: npt.NDArray[np.float64]) -> None:
    np.savetxt(path, table, fmt="%.5f", delimiter=",", header=HEADER, comments="")


def make_sensors(folder: Path, count: int, duration_s: float = IMU_S, rate_hz: float = 50.0) -> None:
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(count):
        write_csv(folder / f"{i:05d}.csv", sensor(rng, duration_s, rate_hz))


def make_films(folder: Path, count: int) -> None:
    """One film is encoded; the others are copies of its packets with another title, so that their content differs."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (1000, 1600, 3), np.uint8)
    first = folder.parent / "film.mp4"
    with av.open(str(first), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"preset": "ultrafast", "crf": "28"})
        stream.width, stream.height, stream.pix_fmt = 1280, 720, "yuv420p"
        soft = np.repeat(np.repeat(noise[:250, :400], 4, 0), 4, 1)
        for i in range(round(FILM_S * 30)):
            y, x = round(120 + 110 * np.sin(i / 40)), round(150 + 140 * np.cos(i / 55))
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(soft[y : y + 720, x : x + 1280]), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    for i in range(count):
        take = folder / f"{i:03d}"
        take.mkdir()
        with av.open(str(first)) as source, av.open(str(take / "film.mp4"), "w") as copy:
            copy.metadata["title"] = f"film {i}"
            stream = copy.add_stream_from_template(source.streams.video[0])
            for packet in source.demux(video=0):
                if packet.dts is not None:
                    packet.stream = stream
                    copy.mux(packet)
        for name in ("left", "right"):
            write_csv(take / f"{name}.csv", sensor(rng, FILM_S))
        worn = [{"path": f"{name}.csv", "placement": f"{name}_wrist"} for name in ("left", "right")]
        (take / "recording.json").write_text(json.dumps({"video": {"path": "film.mp4"}, "imu": worn}))


def random_tower(folder: Path) -> str:
    """A file of random weights for ViT-B-32, by the name that loads them."""
    from motionseek.encoders._torchvision import import_torchvision

    import_torchvision()
    import open_clip
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    weights = folder / "vit.safetensors"
    save_file({k: v.contiguous() for k, v in open_clip.create_model("ViT-B-32").state_dict().items()}, weights)
    return f"open_clip:ViT-B-32:{weights}@frames"


def run_way(way: str, sources: Path, models: list[str], workers: int, threads: int, folder: Path) -> dict[str, Any]:
    """In this process; see `measured`."""
    import torch

    # While it encodes sensors `index` leaves readers their cores by itself; its indexes it builds with all of them.
    torch.set_num_threads(threads + workers if way == "index" and len(models) == 1 else threads)
    from motionseek.indexer.feed import Claim, Feed, Item, Limits
    from motionseek.indexer.pipeline import index
    from motionseek.indexer.prepare import Head, Needs
    from motionseek.indexer.readers import discover
    from motionseek.indexer.spaces import encoders_of, load_models

    began = time.perf_counter()
    loaded = load_models(models)
    encoders = encoders_of(loaded, 5.0)
    warm_up(encoders)
    load_s = time.perf_counter() - began
    before = peak_mib()
    readers = Readers()
    needs = Needs.of(encoders, 5.0, 1.0)
    said: dict[str, Any] = {"load_s": round(load_s, 2)}
    cpu_s = time.process_time()
    if way == "index":
        began = time.perf_counter()
        report = index(
            sources, folder / "archive", models=[m for _, m in loaded], limits=Limits(workers), progress=None
        )
        said |= {"seconds": time.perf_counter() - began, "recorded_s": report.recorded_s, "failed": len(report.failed)}
        said |= {"timings_s": {k: round(v, 2) for k, v in report.timings_s.items()}, "indexed": report.indexed}
    else:
        items = [Item(source) for source in discover([sources])]
        held, recorded_s = list[list[tuple[Item, Any]]](), 0.0
        first = None
        with Feed(Limits(workers)) as feed:
            for told in feed.messages(items, lambda item, recording_id: Claim("read", needs), {}):
                first = first or time.perf_counter()  # when the readers have started
                recorded_s += sum(message.duration_s for _, message in told if isinstance(message, Head))
                if way == "encode":
                    held.append(told)
        said |= {"seconds": time.perf_counter() - (first or 0.0), "recorded_s": recorded_s}
        if way == "encode":
            began, cpu_s = time.perf_counter(), time.process_time()
            encode(held, encoders)
            said["seconds"] = time.perf_counter() - began
    said["cpu_s"] = round(time.process_time() - cpu_s, 2)
    said["mib_beyond_models"] = round(peak_mib() - before)
    said["mib_of_a_reader"] = round(readers.stop())
    return said


def encode(held: Sequence[Sequence[tuple[Any, Any]]], encoders: Mapping[tuple[str, Any], Any]) -> None:
    """What was said at once, as `index` encodes it, without writing any of it."""
    from motionseek.indexer.encode import Encoding
    from motionseek.indexer.prepare import Frames, Head, Pictures, Sentences, Signals

    alone: dict[str, Encoding] = {}
    for told in held:
        heads = {item.uri: message.row["recording_id"] for item, message in told if isinstance(message, Head)}
        alone |= {uri: Encoding(encoders, 5.0, {recording_id: ()}) for uri, recording_id in heads.items()}
        pieces = [(i.uri, m) for i, m in told if isinstance(m, Signals | Frames | Pictures | Sentences)]
        if len(heads) > 1:
            for _ in Encoding(encoders, 5.0, dict.fromkeys(heads.values(), ())).together([m for _, m in pieces]):
                pass
        else:
            for uri, piece in pieces:
                for _ in alone[uri].take(piece):
                    pass


class Readers:
    """The most memory that a process started by this one had; asked of the system while they run."""

    def __init__(self) -> None:
        self._most_mib, self._ended = 0.0, threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def stop(self) -> float:
        self._ended.set()
        self._thread.join()
        return self._most_mib

    def _watch(self) -> None:
        while not self._ended.wait(0.5):
            for process in Path("/proc/self/task").glob("*/children"):
                for pid in process.read_text().split():
                    with suppress(OSError):
                        said = Path(f"/proc/{pid}/status").read_text()
                        peaks = [line.split()[1] for line in said.splitlines() if line.startswith("VmHWM")]
                        self._most_mib = max([self._most_mib, *(int(kib) / 1024 for kib in peaks)])


def warm_up(encoders: Mapping[tuple[str, Any], Any]) -> None:
    """The memory and the time of a first call are the model's."""
    for (_, modality), encoder in encoders.items():
        if modality == "imu":
            encoder.encode(np.zeros((8, 7, 6, 250), np.float32), np.ones((8, 7, 250), np.bool_))
        elif modality == "video":
            encoder.encode(np.zeros((32, 1, 720, 1280, 3), np.uint8), raw=True)


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measured(sources: Path, models: list[str], workers: int, threads: int, way: str) -> dict[str, Any]:
    """One way, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--way", way, "--sources", str(sources), "--folder", folder]
        command += ["--workers", str(workers), "--threads", str(threads), *(f"--model={m}" for m in models)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=os.environ)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    found["times_real"] = round(found["recorded_s"] / found["seconds"], 2)
    found["seconds"] = round(found["seconds"], 2)
    print(way, json.dumps(found), flush=True)
    return found


def compared(sources: Path, models: list[str], workers: int, threads: int, turns: int) -> dict[str, Any]:
    ways: dict[str, list[dict[str, Any]]] = {"decode": [], "encode": [], "index": []}
    for _ in range(turns):
        for way, found in ways.items():
            found.append(measured(sources, models, workers, threads, way))
    rate = {way: float(np.median([one["times_real"] for one in found])) for way, found in ways.items()}
    slower = min("decode", "encode", key=rate.__getitem__)
    found = {"times_real": rate, "slower": slower, "ratio": round(rate["index"] / rate[slower], 3)}
    pairs = zip(ways["index"], ways[slower], strict=True)
    found["ratio_of_each_turn"] = [round(one["times_real"] / bound["times_real"], 3) for one, bound in pairs]
    print(json.dumps(found), flush=True)
    return {**found, "to_encode_alone": round(rate["index"] / rate["encode"], 3), "turns": ways}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", type=int, default=12)
    parser.add_argument("--recordings", type=int, default=10_000, help="of one sensor")
    parser.add_argument("--long", type=int, default=48, help="recordings of one sensor, of half an hour")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--workers", type=int, default=1, help="reader processes")
    parser.add_argument("--threads", type=int, default=max(1, (os.cpu_count() or 2) - 1), help="of the encoder")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--way", choices=("decode", "encode", "index"), help=argparse.SUPPRESS)
    parser.add_argument("--sources", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--model", action="append", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.way:
        print(json.dumps(run_way(args.way, args.sources, args.model, args.workers, args.threads, args.folder)))
        return
    shared = (args.workers, args.threads)
    held = json.loads(args.out.read_text()) if args.out and args.out.is_file() else {}
    report: dict[str, Any] = held | {
        "machine": machine(),
        "load_before": round(os.getloadavg()[0], 1),
        "workers": args.workers,
        "threads": args.threads,
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if args.recordings:
            make_sensors(folder / "sensors", args.recordings)
            report["sensors"] = {"recordings": args.recordings, "seconds_each": IMU_S}
            report["sensors"] |= compared(folder / "sensors", ["starter"], *shared, args.turns)
            make_sensors(folder / "ten", 10)
            report["ten_sensors"] = measured(folder / "ten", ["starter"], *shared, "index")
        if args.long:
            make_sensors(folder / "long", args.long, LONG_S, LONG_HZ)
            report["long_sensors"] = {"recordings": args.long, "seconds_each": LONG_S}
            report["long_sensors"] |= compared(folder / "long", ["starter"], *shared, args.turns)
        if args.films:
            make_films(folder / "films", args.films)
            models = ["starter", random_tower(folder)]
            report["films"] = {"recordings": args.films, "seconds_each": FILM_S}
            report["films"] |= compared(folder / "films", models, *shared, args.turns)
    text = json.dumps(report, indent=2)
    print(text)
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
