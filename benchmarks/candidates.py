"""Are the windows that a motion search would rank first among those whose tokens it looks at?

    python benchmarks/candidates.py [--windows 100000] [--queries 800 200] [--out benchmarks/results/candidates.json]

A query is 5 s of simulated sensors at a random phase against every grid, with nothing of what is around it. The truth
is the exact token score (int8 tokens, as an archive stores them) at every lag of every stream. The stage under test is
the one that searches use: each part's projected windows in FAISS, IVF, at a stride of 1 s. A winner is kept where one
of the first candidates lies within the reach of the refinement; where more than 300 score nearly the same, a search
looks at more, and whether it is among these is measured as well. Also: how much less than the winner the best of the
candidates scores, and what int8 tokens cost. --times measures whole answers instead, in an archive of these streams,
those that look at more by themselves, and keeps the rest of what --out holds. The motion is read from
$MOTIONSEEK_DATA, else ../shared/data; with OMP_NUM_THREADS=1 about 15 minutes, times 3.

How the candidates are found was chosen with 1800 other queries of one sensor and 300 of five in the same streams,
never with these.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from machine import DATA, machine
from mocap_windows import HELD_OUT, Streams, make_streams, motions, sensors, write
from search_speed import WANTED, answer, p50_p95
from torch.nn.functional import conv1d, pad

from motionseek.encoders.base import StreamEncoder, tokenises
from motionseek.encoders.model import load_model
from motionseek.indexer import ann
from motionseek.indexer.nearest import AnnIndex, Int64
from motionseek.search.by_motion import APART_S, MIN_SHARE, RERANKED
from motionseek.search.candidates import MORE, Candidates, Columns, Kept, by_tokens, timed
from motionseek.search.encode import Probes, query_tokens, token_probes
from motionseek.search.motion import REACH_S
from motionseek.search.query import Query
from motionseek.search.rerank import QueryTokens, fit_near, lag_scores
from motionseek.types import Bool, Float32, Float64

SECONDS, STRIDE_S = 5.0, 1.0
ROUGH = 0.012
FIRST = (10, 100, 200, 300)
WARM = 10


def int8(token: Float32) -> Float32:
    """Tokens as an archive gives them back."""
    scale = np.abs(token).max(axis=-1, keepdims=True) / 127
    return np.asarray(np.rint(token / np.where(scale > 0, scale, 1)) * scale, np.float32)


def build(streams: Streams, encoder: StreamEncoder) -> tuple[AnnIndex, Kept]:
    size, n = round(encoder.window_s / encoder.token_s), len(streams.window)
    vectors = []
    for at in range(0, n, 512):
        token, mask = streams.views(streams.window[at : at + 512], streams.first[at : at + 512], size)
        vectors.append(encoder.project(token, mask))
    start_s = streams.first * encoder.token_s
    windows = pa.table(
        {
            "recording_id": pa.DictionaryArray.from_arrays(
                pa.array(streams.window, pa.int32()), pa.array([f"{s:06d}" for s in range(len(streams.length))])
            ),
            "modality": pa.array(["pose"] * n).dictionary_encode(),
            "person": pa.array([""] * n).dictionary_encode(),
            "start_s": start_s,
            "end_s": np.minimum(start_s + encoder.window_s, streams.duration_s[streams.window]),
        }
    )
    index = ann.make_index("motion", "token", windows, np.concatenate(vectors), encoder.blocks, {})
    return index, Kept(Columns.of(windows), np.ones(n, np.bool_))


def scan(streams: Streams, queries: list[QueryTokens]) -> tuple[Int64, Float64, Float32]:
    """The best of all streams for each query by the exact score, (Q,), the offset there (Q,) and that score (Q,).

    A first pass in bfloat16 takes all lags as one convolution. Its cosines are off by less than half of ROUGH, so that
    the best stream is among those within ROUGH of its best; these are then scored as a search does.
    """
    rough = np.full((len(queries), len(streams.length)), -np.inf, np.float32)
    used = queries[0].mask.any(axis=(0, 2))
    size, phases = queries[0].token.shape[2], queries[0].phases
    token = torch.from_numpy(np.concatenate([(q.token * q.mask[..., None])[:, used] for q in queries]))
    there = torch.from_numpy(np.concatenate([q.mask[:, used] for q in queries])).float()
    asked = _channels(token).bfloat16()
    over = int(np.ceil((1 - MIN_SHARE) * size))
    order = np.argsort(streams.length, kind="stable")
    began = time.perf_counter()
    for at in range(0, len(order), 64):
        batch = order[at : at + 64]
        stored, mask, first, last = _stored(streams, batch, size, over)
        x, seen = torch.from_numpy(stored[:, used]), torch.from_numpy(mask[:, used]).float()
        ends = (-first, max(0, last + size - x.shape[2]))
        total = conv1d(pad(_channels(x).bfloat16(), ends), asked).float()
        count = conv1d(pad(seen, ends), there)
        possible = torch.minimum(seen.sum(2)[:, None], there.sum(2)[None]).sum(2)[..., None]
        score = torch.where(
            count > (MIN_SHARE * possible).clamp(min=0.5) - 1e-3, total / count.clamp(min=1), -torch.inf
        )
        rough[:, batch] = score.reshape(len(batch), len(queries), -1).amax(2).T.numpy()
        if at // 64 % 50 == 0:
            done, spent_s = (at + len(batch)) / len(order), time.perf_counter() - began
            print(f"  full scan {done:.0%}, {spent_s / done - spent_s:.0f} s left", flush=True)
    winner, offset_s = np.zeros(len(queries), np.int64), np.zeros(len(queries))
    top = np.full(len(queries), -np.inf, np.float32)
    for i, query in enumerate(queries):
        close = np.flatnonzero(rough[i] >= rough[i].max() - ROUGH)
        for stream in close[np.argsort(streams.length[close], kind="stable")].tolist():
            stored, mask, first, last = _stored(streams, np.array([stream]), size, over)
            scores = lag_scores(query, stored, mask, first, last, min_share=MIN_SHARE)[0]
            if scores.max() > top[i]:
                top[i], winner[i] = scores.max(), stream
                offset_s[i] = (first * phases - (phases - 1) + int(scores.argmax())) * query.hop_s
    return winner, offset_s, top


def _stored(streams: Streams, which: Int64, size: int, over: int) -> tuple[Float32, Bool, int, int]:
    """Whole streams as an archive gives them back, their masks, and the first and last lag at which a query of `size`
    tokens lies over their ends by no more than `over`."""
    longest = int(streams.length[which].max())
    token, mask = streams.views(which, np.zeros(len(which), np.int64), longest)
    return int8(token), mask, -max(over, size - longest + over), max(longest - size, 0) + over


def _channels(token: torch.Tensor) -> torch.Tensor:
    """(N, P, T, D) → (N, P * D, T)."""
    return token.transpose(2, 3).flatten(1, 2)


def rank_of(found: Candidates, kept: Kept, stream: int, offset_s: float) -> int:
    """At which place of the candidates one leads to a stream's offset; a large number where none does."""
    at = (kept.columns.recording[found.row] == stream) & (np.abs(found.offset_s - offset_s) <= REACH_S)
    places = np.flatnonzero(at)
    return int(places[0]) if len(places) else 1 << 30


def share(ranks: list[int], places: tuple[int, ...] = FIRST) -> dict[str, Any]:
    n = len(ranks)
    out: dict[str, Any] = {}
    for first in places:
        p = float(np.mean(np.array(ranks) < first))
        # Wilson's interval
        z, mid = 1.96, (p + 1.92 / n) / (1 + 3.84 / n)
        half = z / (1 + 3.84 / n) * np.sqrt(p * (1 - p) / n + 0.96 / n**2)
        out[f"within {first}"] = {"share": round(p, 4), "95%": [round(mid - half, 4), round(min(1.0, mid + half), 4)]}
    return out


def refined(streams: Streams, query: QueryTokens, found: Candidates, kept: Kept, *, exact: bool) -> Float32:
    """The token scores of candidates, as a search computes them."""
    which, stream = np.unique(kept.columns.recording[found.row], return_inverse=True)
    held = []
    for s in which.tolist():
        token, mask = streams.views(np.array([s]), np.zeros(1, np.int64), int(streams.length[s]))
        held.append((0.0, token[0] if exact else int8(token)[0], mask[0]))
    return fit_near(query, held, stream, found.offset_s, REACH_S, min_share=MIN_SHARE).score


def quantised(exact: list[Float32], stored: list[Float32]) -> dict[str, float]:
    """What int8 tokens change in the ranking of the same candidates."""
    error = np.concatenate([np.abs(a - b)[np.isfinite(a)] for a, b in zip(exact, stored, strict=True)])
    # Several candidates lead to one place, and score the same there but for rounding.
    top1 = [bool(a[b.argmax()] >= a.max() - 1e-5) for a, b in zip(exact, stored, strict=True)]
    top10 = [
        float(np.mean(a[np.argsort(-b)[:10]] >= np.sort(a)[-10:][0] - 1e-5)) for a, b in zip(exact, stored, strict=True)
    ]
    return {
        "mean_score_error": round(float(error.mean()), 6),
        "largest_score_error": round(float(error.max()), 5),
        "same_first": round(float(np.mean(top1)), 4),
        "same_ten": round(float(np.mean(top10)), 4),
    }


def one_phase(tokens: QueryTokens) -> QueryTokens:
    return QueryTokens(tokens.start_s, tokens.token_s, tokens.token[:1], tokens.mask[:1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--windows", type=int, default=100_000)
    parser.add_argument("--queries", type=int, nargs=2, default=(800, 200), help="with one sensor, with five")
    parser.add_argument("--seed", type=int, default=2063, help="of the queries")
    parser.add_argument("--sensors", type=int, nargs="+", choices=(5, 1), default=(1, 5))
    parser.add_argument("--times", action="store_true", help="measure whole answers, and nothing else")
    parser.add_argument("--model", default="starter")
    parser.add_argument("--keep", type=Path, help="a file (.npz) to keep the streams in, for another run")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    model = load_model(args.model)
    pose, imu = model.encoder("pose", "motion"), model.encoder("imu", "motion")
    if not tokenises(pose) or not tokenises(imu):
        raise SystemExit(f"the model {args.model} does not tokenise streams")
    clips = motions(DATA)
    if args.keep and args.keep.exists():
        with np.load(args.keep, allow_pickle=False) as held:
            streams = Streams(**{f.name: held[f.name] for f in fields(Streams)})
    else:
        print("simulating and tokenising …", flush=True)
        streams = make_streams(clips, pose, args.windows, STRIDE_S)
        if args.keep:
            np.savez(args.keep, **{f.name: getattr(streams, f.name) for f in fields(Streams)})
    index, kept = build(streams, pose)
    print(f"{len(index)} windows of {len(streams.length)} streams, {index.parameters}", flush=True)

    long = np.flatnonzero(streams.duration_s >= SECONDS + 0.2)
    new = np.array([clips[c].labels[-1:] == (HELD_OUT,) for c in streams.clip[long].tolist()], np.bool_)
    report: dict[str, Any] = {
        "model": model.name,
        "fingerprint": model.fingerprint,
        "machine": machine(),
        "windows": len(index),
        "streams": len(streams.length),
        "hours": round(float(streams.duration_s.sum()) / 3600, 1),
        "queries": f"{SECONDS:g} s, half of clips that training never saw; random phase, cut off",
        "seed": args.seed,
        "index": {"kind": index.kind, "recall_at_10": index.recall, "width": index.width, **index.parameters},
    }
    for count in args.sensors:
        rng, each = np.random.default_rng(args.seed + count), args.queries[count == 5] // 2
        asked = np.concatenate([rng.choice(long[of], each, replace=False) for of in (new, ~new)])
        start_s: Float64 = rng.uniform(0, streams.duration_s[asked] - SECONDS)
        tokens = []
        for stream, begins_s in zip(asked.tolist(), start_s.tolist(), strict=True):
            worn = sensors(
                clips[streams.clip[stream]],
                float(streams.speed[stream]),
                bool(streams.mirrored[stream]),
                begins_s,
                SECONDS,
                stream,
            )
            tokens.append(query_tokens(Query.of(worn if count == 5 else worn[1]), imu))
        print(f"{count} sensors", flush=True)
        if args.times:
            report[f"{count} sensors"] = {"whole answer": times(streams, index, kept, imu, tokens)}
            continue
        with torch.inference_mode():
            truth = scan(streams, tokens)
        report[f"{count} sensors"] = measure(streams, index, kept, imu, tokens, truth, asked, start_s)
        print(json.dumps(report[f"{count} sensors"], indent=1), flush=True)
    if args.out and args.out.exists():
        # What was measured before, where it is of the same queries in the same windows.
        before = json.loads(args.out.read_text())
        if all(before.get(name) == report[name] for name in ("fingerprint", "windows", "queries", "seed")):
            report = {**before, **{name: _joined(before.get(name), told) for name, told in report.items()}}
    text = json.dumps(report, indent=1)
    if args.out:
        args.out.write_text(text + "\n")
    print(text)


def _joined(before: Any, now: Any) -> Any:
    return {**before, **now} if isinstance(before, dict) and isinstance(now, dict) else now


def times(
    streams: Streams, index: AnnIndex, kept: Kept, imu: StreamEncoder, tokens: list[QueryTokens]
) -> dict[str, Any]:
    """Whole answers with the query's tokens given, in an archive of the streams."""
    spent: dict[str, list[dict[str, float]]] = {f"{RERANKED} looked at": [], "more looked at": []}
    with tempfile.TemporaryDirectory() as name:
        store = write(streams, imu.token_s, Path(name))
        for query in tokens[:WARM]:
            answer(query, imu, index, kept, store)
        for query in tokens:
            found, _, took_ms = answer(query, imu, index, kept, store)
            spent["more looked at" if len(found) > RERANKED + WANTED else f"{RERANKED} looked at"].append(took_ms)
    return {
        which: {
            "queries": len(rows),
            **p50_p95([sum(row.values()) / 1e3 for row in rows]),
            "steps_p50_ms": {step: round(float(np.median([row[step] for row in rows])), 2) for step in rows[0]},
        }
        for which, rows in spent.items()
        if rows
    }


def measure(
    streams: Streams,
    index: AnnIndex,
    kept: Kept,
    imu: StreamEncoder,
    tokens: list[QueryTokens],
    truth: tuple[Int64, Float64, Float32],
    asked: Int64,
    start_s: Float64,
) -> dict[str, Any]:
    ranks: dict[str, list[int]] = {
        "exact_winner": [],
        "looked_at": [],
        "true_match": [],
        "one_phase": [],
        "one_shift": [],
    }
    exact, stored, first, looked_at = [], [], [], []
    for i, query in enumerate(tokens):
        winner, where_s = int(truth[0][i]), float(truth[1][i])

        def look(probes: Probes) -> Candidates:
            return timed(index, kept, probes, RERANKED, APART_S, 0)

        probes = token_probes(query, imu, STRIDE_S, kept.shortest_s)
        ranks["exact_winner"].append(rank_of(look(probes), kept, winner, where_s))
        found = by_tokens(index, kept, probes, RERANKED, APART_S, 0)
        looked_at.append(len(found))
        ranks["looked_at"].append(rank_of(found, kept, winner, where_s))
        ranks["true_match"].append(rank_of(found, kept, int(asked[i]), float(start_s[i])))
        fewer = {
            "one_phase": token_probes(one_phase(query), imu, STRIDE_S, kept.shortest_s),
            "one_shift": token_probes(query, imu, imu.token_s),
        }
        for name, probes in fewer.items():
            ranks[name].append(rank_of(look(probes), kept, winner, where_s))
        exact.append(refined(streams, query, found, kept, exact=True))
        stored.append(refined(streams, query, found, kept, exact=False))
        first.append(int(kept.columns.recording[found.row[int(stored[-1].argmax())]]))
    by_scan = truth[0]
    less = np.maximum(truth[2] - np.array([scores.max() for scores in stored]), 0)
    return {
        "queries": len(tokens),
        "exact winner": share(ranks["exact_winner"]),
        "exact winner, among all that are looked at": share(ranks["looked_at"], (MORE,))[f"within {MORE}"],
        f"looked at more than {RERANKED}": round(float(np.mean(np.array(looked_at) > RERANKED)), 4),
        "true match": share(ranks["true_match"]),
        "exact winner, query at one phase": share(ranks["one_phase"])["within 300"],
        "exact winner, one shift": share(ranks["one_shift"])["within 300"],
        "true recording first": {
            "by the search": round(float(np.mean(np.array(first) == asked)), 4),
            "by the full scan": round(float(np.mean(by_scan == asked)), 4),
        },
        "same first as the full scan": round(float(np.mean(np.array(first) == by_scan)), 4),
        "the best candidate's score below the winner's": {
            "in all queries": round(float(less.mean()), 5),
            "where the winner is lost": [
                round(float(x), 4) for x in np.sort(less[np.array(ranks["looked_at"]) >= MORE])
            ],
        },
        "int8 tokens": quantised(exact, stored),
    }


if __name__ == "__main__":
    main()
