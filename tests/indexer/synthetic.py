"""Recordings with movement in them, and a real encoder that needs no training: random linear projections."""

from __future__ import annotations

import argparse
import hashlib
import os
import resource
import sys
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from motionseek.encoders.base import Embeddings
from motionseek.types import Imu, Narration, PoseTrack, Recording

D = 16


def unit(x: Any) -> Any:
    norm = np.linalg.norm(x, axis=-1, keepdims=True)
    return (x / np.where(norm > 0, norm, 1)).astype(np.float32)


def matrix(seed: int, rows: int, columns: int) -> Any:
    return (np.random.default_rng(seed).normal(size=(rows, columns)) / np.sqrt(rows)).astype(np.float32)


class LinearTokens:
    """A token is a projection of its own ten samples; a StreamEncoder."""

    space = "motion"
    levels = ("global", "local", "token")
    rate_hz, window_s, token_s, context_s, blocks = 50.0, 5.0, 0.2, 0.0, 1

    def __init__(self, modality: str, seed: int = 0) -> None:
        self.modality = modality
        channels = 6 if modality == "imu" else 12
        self.mix = matrix(seed, channels * 10, D)
        self.down = matrix(seed + 1, 6 * 25 * D, 32)
        self.fingerprint = hashlib.sha256(self.mix.tobytes()).hexdigest()

    def encode(self, batch: Any, mask: Any = None, *, raw: bool = False, hop_s: float | None = None) -> Embeddings:
        b, p, c, length = batch.shape
        t, p = length // 10, min(p, 6)
        x = batch[:, :p, :, : t * 10].reshape(b, p, c, t, 10).swapaxes(2, 3).reshape(b, p, t, c * 10)
        seen = mask[:, :p, : t * 10].reshape(b, p, t, 10).mean(-1) >= 0.5
        return Embeddings(token=unit(x @ self.mix) * seen[..., None], mask=seen)

    def tokens(self, batch: Any, mask: Any = None, *, hop_s: float | None = None) -> Any:
        found = self.encode(batch, mask)
        return found.token, found.mask

    def pool(self, token: Any, mask: Any) -> Embeddings:
        local = unit((token * mask[..., None]).sum(2))
        return Embeddings(global_=unit(local.sum(1)), local=local, mask=mask.any(2))

    def project(self, token: Any, mask: Any) -> Any:
        return (token * mask[..., None]).reshape(len(token), -1) @ self.down


class LinearWindows:
    """A vector is a projection of the whole window; tokens of a second each. Sees one window at a time."""

    space = "clip"
    levels = ("global", "token")
    rate_hz, window_s = 50.0, 5.0

    def __init__(self, modality: str, seed: int = 7) -> None:
        self.modality = modality
        self.channels = 6 if modality == "imu" else 12
        self.mix = matrix(seed, self.channels * 50, D)
        self.fingerprint = hashlib.sha256(self.mix.tobytes()).hexdigest()

    def encode(self, batch: Any, mask: Any = None, *, raw: bool = False) -> Embeddings:
        b, p, c, _ = batch.shape
        token = unit(batch.reshape(b, p, c, 5, 50).swapaxes(2, 3).reshape(b, p, 5, c * 50) @ self.mix)
        seen = mask.reshape(b, p, 5, 50).any(-1)
        return Embeddings(global_=unit((token * seen[..., None]).sum((1, 2))), token=token * seen[..., None], mask=seen)


class HashedWords:
    """A sentence is the sum of its words' random vectors."""

    space, modality, levels = "clip", "text", ("global",)
    rate_hz, window_s, fingerprint = 0.0, 0.0, "words"

    def encode(self, batch: list[str], mask: Any = None, *, raw: bool = False) -> Embeddings:
        def word(w: str) -> Any:
            return matrix(int.from_bytes(hashlib.sha256(w.encode()).digest()[:4], "little"), 1, D)[0]

        return Embeddings(global_=unit(np.stack([sum(word(w) for w in s.split()) for s in batch])))


@dataclass
class Linear:
    """A model of the encoders above."""

    seed: int = 0
    card: dict[str, Any] = field(default_factory=lambda: {"name": "linear"})

    def __post_init__(self) -> None:
        self.fingerprint = f"linear-{self.seed}"
        self.encoders = {
            ("motion", "imu"): LinearTokens("imu", self.seed),
            ("motion", "pose"): LinearTokens("pose", self.seed),
            ("clip", "imu"): LinearWindows("imu", self.seed + 7),
            ("clip", "text"): HashedWords(),
        }


def imu(seed: int, duration_s: float, placement: str = "left_wrist", start_s: float = 0.0, **more: Any) -> Imu:
    rng = np.random.default_rng(seed)
    t_s = start_s + np.arange(round(duration_s * 50)) / 50
    x = rng.normal(size=(len(t_s), 6)).cumsum(0) * 0.1 + [0, 0, 9.8, 0, 0, 0]
    return Imu(t_s, x[:, :3], t_s, x[:, 3:], placement, **more)


def pose(seed: int, duration_s: float, person: str = "0") -> PoseTrack:
    rng = np.random.default_rng(seed)
    t_s = np.arange(round(duration_s * 30)) / 30
    body = rng.uniform(100, 400, size=(1, 17, 2)) + rng.normal(size=(len(t_s), 17, 2)).cumsum(0)
    body[:, [5, 6], 1], body[:, [11, 12], 1] = 150, 300
    return PoseTrack(t_s, body, np.ones((len(t_s), 17)), (640, 480), person)


def recording(seed: int, duration_s: float = 12.0, **more: Any) -> Recording:
    content = {
        "imus": (imu(seed, duration_s, "left_wrist"), imu(seed + 1000, duration_s, "right_pocket")),
        "poses": (pose(seed, duration_s),),
        "narrations": (Narration(0.0, 4.0, "walk slowly"), Narration(4.0, 9.0, f"jump number {seed}")),
        "labels": ("walk", "it's ünïcode"),
        **more,
    }
    name = hashlib.sha256(f"{seed} {duration_s}".encode()).hexdigest()
    return Recording(name, f"take-{seed}", **content)


def write_imu(path: Any, seed: int, duration_s: float = 8.0) -> None:
    """A csv of one sensor, last changed long enough ago for its hash to be remembered."""
    one = imu(seed, duration_s)
    table = np.column_stack([one.acc_t_s, one.acc_mps2, one.gyro_rps])
    np.savetxt(path, table, delimiter=",", header="t_s,ax_mps2,ay_mps2,az_mps2,gx_rps,gy_rps,gz_rps", comments="")
    os.utime(path, (1_700_000_000, 1_700_000_000 + seed))


def main() -> None:
    """Index recordings 0 to N-1, or a folder, into an archive, in batches that are small enough to be cut between."""
    parser = argparse.ArgumentParser()
    parser.add_argument("archive")
    parser.add_argument("sources")
    parser.add_argument("--largest-file", type=int, default=0)
    args = parser.parse_args()
    from motionseek.errors import ArchiveError
    from motionseek.indexer import writer
    from motionseek.indexer.pipeline import index

    if args.largest_file:
        resource.setrlimit(resource.RLIMIT_FSIZE, (args.largest_file, args.largest_file))
    writer.BATCH_ROWS = 150
    print("ready", flush=True)
    sources = [recording(i) for i in range(int(args.sources))] if args.sources.isdigit() else args.sources
    try:
        index(sources, args.archive, models=[Linear()])
    except ArchiveError as error:
        sys.exit(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
