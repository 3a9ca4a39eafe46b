"""Retrieval with and without a second look at the tokens: the engine against the same ranking by brute force in numpy.

    python benchmarks/retrieval.py [--model starter] [--queries 150] [--out benchmarks/results/retrieval.json]

The engine: an archive on disk, FAISS over projected windows, candidates, the rerank of their int8 token streams,
through `Archive.search`. Brute force: every projected window of the archive with every shift of the query, and every
token of the archive with every token of the query at every lag and phase, in numpy, without candidates. Of each query:
the best of each recording, one right recording, ten answers.

Real: UTD-MHAD, the middle 1.6 s of each trial of subjects 2, 4 and 6 (cut out: a trial's length tells nothing), among
the skeletons, or the sensors, of all their trials. Simulated: stretches of takes of a style that no training saw; a hit
must lie within 0.3 s, too.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from machine import DATA, machine
from robustness import Take, real, simulated

from motionseek.encoders.model import load_model
from motionseek.indexer.filters import Filter
from motionseek.indexer.pipeline import index
from motionseek.search.archive import Archive
from motionseek.search.archive import open as open_archive
from motionseek.search.by_motion import MIN_SHARE
from motionseek.search.candidates import LEAST_SHARE
from motionseek.search.encode import Probes, query_tokens, token_probes
from motionseek.search.query import Query
from motionseek.search.rerank import QueryTokens
from motionseek.types import PARTS, Bool, Float32, Float64, Modality, Recording, Span

OUT = Path(__file__).parent / "results" / "retrieval.json"
K = 10
NEAR_S = 0.3
Way = Literal["none", "token"]
WAYS: tuple[Way, ...] = ("none", "token")


@dataclass(frozen=True, eq=False)
class Asked:
    """A stretch of a recording, cut out. own: which recording.   near_s: how far off a hit may be, if that counts."""

    query: Query
    own: str
    near_s: float


@dataclass(frozen=True, eq=False)
class Held:
    """All that an archive holds of one modality: R streams of tokens (R, P, T, D) that start at start_s (R,), and N
    projected windows of `duration_s` (N,) of the recordings `of` (N,)."""

    ids: tuple[str, ...]
    start_s: Float64
    token: Float32
    mask: Bool
    projected: Float32
    duration_s: Float64
    of: np.ndarray[Any, np.dtype[np.int64]]

    @classmethod
    def read(cls, archive: Archive, modality: Modality) -> Held:
        ids = tuple(sorted(archive.sources))
        keys = [key for r in ids for key in archive._loaded.stream_keys(r) if key.modality == modality]
        streams = archive.store.tokens("motion", keys)
        held = [streams[key] for key in keys]
        longest = max(s.token.shape[1] for s in held)
        parts = len(PARTS)
        token = np.stack([np.pad(s.token[:parts], ((0, 0), (0, longest - s.token.shape[1]), (0, 0))) for s in held])
        mask = np.stack([np.pad(s.mask[:parts], ((0, 0), (0, longest - s.mask.shape[1]))) for s in held])
        windows, projected = archive.store.vectors("motion", "token", Filter(modality=modality))
        of = np.array([ids.index(r) for r in windows["recording_id"].to_pylist()])
        duration_s = windows["end_s"].to_numpy() - windows["start_s"].to_numpy()
        return cls(ids, np.array([s.start_s for s in held]), token, mask, projected, duration_s, of)


def by_projection(held: Held, probes: Probes) -> tuple[Float32, Float64]:
    """Per recording the best of any of its windows with any probe by their inner product over the tokens that meet,
    where these are enough; it says no offset."""
    if probes.held is None:
        raise SystemExit("the probes do not say how many tokens they have")
    parts, size = probes.held.shape[1], probes.held.shape[2] - 1
    worn = held.projected.reshape(len(held.projected), parts, -1).any(axis=2)
    tokens = np.clip(np.rint(held.duration_s / probes.token_s), 0, size).astype(int)
    met = sum(worn[:, p, None] * probes.held[:, p, tokens].T.astype(np.float32) for p in range(parts))
    enough = met >= np.maximum(LEAST_SHARE * met.max(axis=1, keepdims=True), 1)
    score = np.where(enough, held.projected @ probes.vector.T / np.maximum(met, 1), -np.inf)
    best = np.full(len(held.ids), -np.inf, np.float32)
    np.maximum.at(best, held.of, score.max(axis=1))
    return best, np.full(len(best), np.nan)


def by_tokens(held: Held, asked: QueryTokens) -> tuple[Float32, Float64]:
    """Per recording the best mean cosine of the pairs of tokens that meet, over every lag and phase, and its offset."""
    best, offset_s = np.full(len(held.ids), -np.inf, np.float32), np.zeros(len(held.ids))
    used = asked.mask.any(axis=(0, 2))
    stored = held.token[:, used] * held.mask[:, used, :, None]
    there = held.mask[:, used].astype(np.float32)
    recordings, parts, longest, _ = stored.shape
    for phase in range(asked.phases):
        ours = asked.token[phase][used] * asked.mask[phase][used][..., None]
        mine = asked.mask[phase][used].astype(np.float32)
        steps = ours.shape[1]
        cosine = sum(stored[:, p] @ ours[p].T for p in range(parts))
        meets = sum(there[:, p, :, None] * mine[p] for p in range(parts))
        total = np.zeros((2, recordings, longest + steps - 1), np.float32)
        for t in range(steps):
            # Token t of the query meets token s of the stream at the lag s - t.
            total[:, :, steps - 1 - t : steps - 1 - t + longest] += np.stack([cosine[..., t], meets[..., t]])
        could = np.minimum(there.sum(axis=2), mine.sum(axis=1)).sum(axis=1)
        enough = total[1] > np.maximum(MIN_SHARE * could[:, None], 0.5) - 1e-3
        score = np.where(enough, total[0] / np.maximum(total[1], 1), -np.inf)
        at = score.argmax(axis=1)
        top = score[np.arange(recordings), at]
        lag_s = (at - (steps - 1)) * asked.token_s - phase * asked.hop_s
        better = top > best
        best[better], offset_s[better] = top[better], (held.start_s - asked.start_s + lag_s)[better]
    return best, offset_s


def brute(archive: Archive, held: Held, asked: Asked) -> dict[Way, tuple[Float32, Float64]]:
    encoder = archive._loaded.stream_encoder(asked.query.modality)
    tokens = query_tokens(asked.query, encoder)
    probes = token_probes(tokens, encoder, archive.spaces["motion"].stride_s, float(held.duration_s.min()))
    return {"none": by_projection(held, probes), "token": by_tokens(held, tokens)}


Run = Mapping[str, Any]


def measure(archive: Archive, queries: Sequence[Asked], target: Modality) -> dict[str, Run]:
    held = Held.read(archive, target)
    runs: dict[Way, list[Run]] = {way: [] for way in WAYS}
    for asked in queries:
        wanted = brute(archive, held, asked)
        for way in WAYS:
            began = time.perf_counter()
            found = archive.search(asked.query, target=target, rerank=way, k=K)
            took_ms = (time.perf_counter() - began) * 1e3
            score, offset_s = wanted[way]
            order = np.argsort(-score, kind="stable")[:K]
            order = order[np.isfinite(score[order])]
            listed = [held.ids[i] for i in order]
            timed = way == "token" and np.isfinite(asked.near_s)
            hits = [
                m.recording_id == asked.own and (not timed or abs(m.offset_s or 0.0) <= asked.near_s) for m in found
            ]
            own = [held.ids[i] == asked.own and (not timed or abs(offset_s[i]) <= asked.near_s) for i in order]
            shared = [(m.score, score[held.ids.index(m.recording_id)]) for m in found]
            runs[way].append(
                {
                    "engine": rank_of(hits),
                    "numpy": rank_of(own),
                    "first": bool(found) and found[0].recording_id == listed[0],
                    "ten": [m.recording_id for m in found] == listed,
                    "apart": max((abs(a - b) / max(1.0, abs(b)) for a, b in shared), default=0.0),
                    "ms": took_ms,
                }
            )
    return {"without tokens" if way == "none" else "with tokens": summary(runs[way]) for way in WAYS}


def rank_of(hits: Sequence[bool]) -> float:
    """From 1, infinite where the right one is not among them."""
    return hits.index(True) + 1 if True in hits else np.inf


def summary(runs: Sequence[Run]) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    said: dict[str, Any] = {}
    for who in ("engine", "numpy"):
        rank = np.array([run[who] for run in runs])
        draws = (rank[rng.integers(0, len(rank), (2000, len(rank)))] == 1).mean(axis=1)
        said[who] = {
            "R@1": round(float((rank == 1).mean()), 4),
            "R@1_95": [round(float(q), 4) for q in np.quantile(draws, (0.025, 0.975))],
            "R@5": round(float((rank <= 5).mean()), 4),
            "R@10": round(float((rank <= K).mean()), 4),
            "MRR@10": round(float((1 / rank).mean()), 4),
        }
    return said | {
        "queries": len(runs),
        "same_first": round(float(np.mean([run["first"] for run in runs])), 4),
        "same_ten": round(float(np.mean([run["ten"] for run in runs])), 4),
        "scores_apart_at_most": float(f"{max(run['apart'] for run in runs):.2g}"),
        "engine_ms_p50": round(float(np.median([run["ms"] for run in runs])), 1),
    }


def recordings(takes: Sequence[Take], name: str) -> list[Recording]:
    ids = [hashlib.sha256(f"{name} {i}".encode()).hexdigest() for i in range(len(takes))]
    pairs = zip(ids, takes, strict=True)
    return [Recording(i, f"{name} {i[:6]}", take.imus, None, (take.pose,)) for i, take in pairs]


def cut_out(one: Recording, span: Span, modality: Modality, worn: Sequence[int]) -> Query:
    if modality == "pose":
        return Query.of(one.poses[0].crop(span))
    return Query.of([one.imus[k].crop(span) for k in worn])


def trials(made: Sequence[Recording], modality: Modality, count: int, rng: np.random.Generator) -> list[Asked]:
    chosen = rng.permutation(len(made))[:count]
    asked = []
    for one in (made[i] for i in chosen):
        first_s = max(one.imus[0].start_s, one.poses[0].start_s)
        last_s = min(one.imus[0].end_s, one.poses[0].end_s)
        middle_s = (first_s + last_s) / 2
        span = Span(max(first_s, middle_s - 0.8), min(last_s, middle_s + 0.8))
        asked.append(Asked(cut_out(one, span, modality, (0,)), one.recording_id, np.inf))
    return asked


def stretches(
    made: Sequence[Recording], modality: Modality, worn: Sequence[int], count: int, rng: np.random.Generator
) -> list[Asked]:
    asked = []
    for i in rng.integers(0, len(made), count):
        start_s = float(rng.uniform(1.2, made[i].duration_s - 6.2))
        query = cut_out(made[i], Span(start_s, start_s + 5.0), modality, worn)
        asked.append(Asked(query, made[i].recording_id, NEAR_S))
    return asked


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="starter")
    parser.add_argument("--queries", type=int, default=150, help="Of each kind, at most.")
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    began = time.monotonic()
    model = load_model(args.model)
    rng = np.random.default_rng(0)
    sets = {
        "UTD-MHAD": recordings(real(DATA / "utd-mhad" / "utd_mhad_subjects_1-6.npz"), "trial"),
        "simulated": recordings(simulated(DATA / "bandai-namco" / "bnr_dataset2.npz", 0), "take"),
    }
    report: dict[str, Any] = {
        "model": model.name,
        "fingerprint": model.fingerprint,
        "machine": machine(),
    }
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for name, made in sets.items():
            folder = Path(scratch) / name
            if index(made, folder, models=[model]).failed:
                raise SystemExit(f"{name}: not all of it could be indexed")
            archive = open_archive(folder, models=[model])
            if name == "UTD-MHAD":
                kinds = {
                    "real sensor → skeleton, 1.6 s": (trials(made, "imu", args.queries, rng), "pose"),
                    "skeleton → real sensor, 1.6 s": (trials(made, "pose", args.queries, rng), "imu"),
                }
            else:
                kinds = {
                    "five sensors → pose, 5 s": (stretches(made, "imu", range(5), args.queries, rng), "pose"),
                    "right wrist → pose, 5 s": (stretches(made, "imu", (1,), args.queries, rng), "pose"),
                    "pose → five sensors, 5 s": (stretches(made, "pose", (), args.queries, rng), "imu"),
                }
            for kind, (queries, target) in kinds.items():
                found = measure(archive, queries, target)
                results[f"{name}: {kind}"] = {"recordings": len(made), "chance_R@1": round(1 / len(made), 4), **found}
                for way, said in found.items():
                    print(f"{name}, {kind}, {way}: {said}", flush=True)
    report |= {"minutes": round((time.monotonic() - began) / 60, 1), "results": results}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
