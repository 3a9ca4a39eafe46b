"""How fast a motion query is answered, beside the least that it could take and beside other engines.

    python benchmarks/search_speed.py [--sizes 10000 100000 1000000] [--out benchmarks/results/search_speed.json]

Made streams (structured_vectors.py), one wrist, queries of 5 s at a random phase; the query's tokens are given. The
whole answer is what a search does: 60 probes looked up in FAISS, the tokens of 300 candidates read from Lance, their
exact score at every lag. The bound is the bare FAISS call plus the bare matrix product of the same sizes, in the same
run. Others: LanceDB's vector search (one vector, at the recall of ours), its multivector search and fast-plaid, which
rank windows by tokens without time, up to --tokens-most windows. For fast-plaid name the Python that has it in
$FAST_PLAID_PYTHON; without, it is left out. Also: queries at once, and the first query of a fresh process.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import faiss
import lancedb
import numpy as np
import pyarrow as pa
from lancedb.index import IvfFlat
from machine import machine
from structured_vectors import LENGTH, SIZE, TOKEN_S, WIDTH, WINDOW_S, WINDOWS_EACH, WRIST, Movements, write

from motionseek.indexer import ann
from motionseek.indexer.nearest import AnnIndex, Int64
from motionseek.indexer.store import Store
from motionseek.search.by_motion import APART_S, MIN_SHARE, RERANKED, streams_of
from motionseek.search.candidates import Candidates, Columns, Kept, by_tokens
from motionseek.search.encode import token_probes
from motionseek.search.motion import REACH_S, needed
from motionseek.search.rerank import QueryTokens, fit_near
from motionseek.types import PARTS, Float32

HERE = Path(__file__).parent
STRIDE_S, WANTED = 1.0, 11
STEPS = ("fresh", "answer", "vector", "tokens")

FRESH = """
import json, sys, time
began = time.perf_counter()
import motionseek as ms
archive = ms.open(sys.argv[1])
spent = {"import_and_open_s": time.perf_counter() - began}
for name, query in (("first_text_s", "walking"), ("first_imu_s", ms.Imu.load(sys.argv[2], placement="right_wrist"))):
    began = time.perf_counter()
    archive.search(query, target="imu")
    spent[name] = time.perf_counter() - began
print(json.dumps(spent))
"""
PLAID = """
import json, os, sys, time
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(sys.argv[2])])
from pathlib import Path
import numpy as np, torch
from fast_plaid import search
torch.set_num_threads(int(sys.argv[2]))
held, folder = np.load(sys.argv[1]), Path(sys.argv[3])
built = folder / "built_s.json"
engine = search.FastPlaid(index=str(folder / "index"), device="cpu")
if not built.exists():
    began = time.perf_counter()
    engine.create(documents_embeddings=list(torch.from_numpy(held["windows"])))
    built.write_text(json.dumps(time.perf_counter() - began))
built_s = json.loads(built.read_text())
first, spent = [], []
for query in torch.from_numpy(held["queries"]):
    began = time.perf_counter()
    found = engine.search(query[None], top_k=10, show_progress=False)
    spent.append(time.perf_counter() - began)
    first.append(found[0][0][0])
print(json.dumps({"build_s": built_s, "spent_s": spent, "first": first}))
"""


def p50_p95(spent_s: Sequence[float]) -> dict[str, float]:
    return {f"p{q}_ms": round(float(np.percentile(spent_s, q)) * 1e3, 2) for q in (50, 95)}


def recall_of(got: Int64, truth: Int64) -> float:
    """Share of the true rows (Q, K) that are among those got (Q, K')."""
    return float((truth[:, :, None] == got[:, None, :]).any(axis=2).mean())


def timed_calls(call: Callable[[Any], Any], queries: Sequence[Any]) -> tuple[list[float], list[Any]]:
    spent, found = [], []
    for query in queries:
        began = time.perf_counter()
        found.append(call(query))
        spent.append(time.perf_counter() - began)
    return spent, found


def answer(
    query: QueryTokens, encoder: Any, index: AnnIndex, kept: Kept, store: Store
) -> tuple[Candidates, Float32, dict[str, float]]:
    """The candidates, their token scores, and where the time went, in ms: the steps of `by_motion`."""
    at = [time.perf_counter()]
    probes = token_probes(query, encoder, STRIDE_S, kept.shortest_s)
    at.append(time.perf_counter())
    found = by_tokens(index, kept, probes, RERANKED, APART_S, WANTED)
    at.append(time.perf_counter())
    keys, which = streams_of(kept.columns, found)
    spans = needed(keys, which, found.offset_s, (query.start_s, query.start_s + WINDOW_S))
    held = store.tokens("motion", keys, spans, parts=[PARTS[part] for part in query.worn])
    streams = [(s.start_s, s.token, s.mask) for s in (held[key] for key in keys)]
    at.append(time.perf_counter())
    fitted = fit_near(query.only(query.worn), streams, which, found.offset_s, REACH_S, min_share=MIN_SHARE)
    at.append(time.perf_counter())
    spent_ms = (np.diff(at) * 1e3).tolist()
    return found, fitted.score, dict(zip(("probes", "candidates", "tokens", "score"), spent_ms, strict=True))


class Made:
    """An archive of made streams with its index, ready to be asked."""

    def __init__(self, windows: int, folder: Path, queries: int) -> None:
        self.movements = Movements.of(windows)
        self.vectors, self.windows, self.wrist = write(self.movements, folder)
        self.store = Store.open(folder)
        self.columns = Columns.of(self.windows)
        self.kept = Kept(self.columns, np.ones(len(self.windows), np.bool_))
        self.index = ann.make_index("motion", "token", self.windows, self.vectors, 1, {})
        rng = np.random.default_rng(5)
        self.asked = rng.integers(0, len(self.movements.activity), queries)
        start_s = rng.uniform(0, LENGTH * TOKEN_S - WINDOW_S, queries).tolist()
        self.queries = [
            self.movements.query(int(r), s, i) for i, (r, s) in enumerate(zip(self.asked, start_s, strict=True))
        ]

    def answer(self, query: QueryTokens) -> tuple[int, dict[str, float]]:
        """The recording that fits best, and where the time went."""
        found, score, spent_ms = answer(query, self.wrist, self.index, self.kept, self.store)
        return int(self.columns.recording[found.row[int(score.argmax())]]), spent_ms

    def bare(self, query: QueryTokens) -> None:
        """The FAISS call on the same probes, then the product of the same sizes."""
        probes = token_probes(query, self.wrist, STRIDE_S).vector
        self.spent = -time.perf_counter()
        self.index.search(probes, RERANKED)
        steps = SIZE + 2 * round(np.ceil(REACH_S / TOKEN_S))
        product = self.product(query.phases * SIZE, steps)
        self.spent += time.perf_counter()
        del product

    def product(self, rows: int, steps: int) -> Float32:
        shape = rows, steps
        if getattr(self, "_shape", None) != shape:
            rng = np.random.default_rng(0)
            self._shape = shape
            self._left = rng.random((rows, WIDTH), np.float32)
            self._right = rng.random((RERANKED, WIDTH, steps), np.float32)
        return np.asarray(self._left @ self._right)


def ours(made: Made) -> dict[str, Any]:
    for query in made.queries[:3]:
        made.answer(query)
        made.bare(query)
    spent, found = timed_calls(made.answer, made.queries)
    bare = []
    for query in made.queries:
        made.bare(query)
        bare.append(made.spent)
    whole, least = p50_p95(spent), p50_p95(bare)
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(2)
    with_two, _ = timed_calls(made.answer, made.queries)
    faiss.omp_set_num_threads(threads)
    steps = {step: round(float(np.median([s[step] for _, s in found])), 2) for step in found[0][1]}
    right = np.mean(np.array([best for best, _ in found]) == made.asked)
    return {
        "probes": len(token_probes(made.queries[0], made.wrist, STRIDE_S).vector),
        "index": {"kind": made.index.kind, "recall_at_10": made.index.recall, **made.index.parameters},
        "whole_answer": whole,
        "whole_answer_faiss_on_two_threads": p50_p95(with_two),
        "steps_p50_ms": steps,
        "bare_faiss_and_product": least,
        "ratio_p50": round(whole["p50_ms"] / least["p50_ms"], 2),
        "right_recording_first": round(float(right), 3),
        "at_once": at_once(made),
    }


def at_once(made: Made) -> dict[str, float]:
    """Answers a second with so many threads asking."""
    found = {}
    for threads in (1, 4, 16):
        with ThreadPoolExecutor(threads) as pool:
            began = time.perf_counter()
            count = len(list(pool.map(made.answer, made.queries)))
            found[f"{threads} threads"] = round(count / (time.perf_counter() - began), 1)
    return found


def lance_vectors(made: Made, folder: Path) -> dict[str, Any]:
    """One vector, ten answers: our index and LanceDB's IVF_FLAT with as many lists, each at the recall of ours."""
    width = made.vectors.shape[1]
    table = lancedb.connect(folder).create_table(
        "vectors", pa.table({"vector": pa.FixedSizeListArray.from_arrays(made.vectors.reshape(-1), width)})
    )
    nlist = int(made.index.parameters.get("nlist", 0))
    if nlist:
        table.create_index("vector", config=IvfFlat(distance_type="dot", num_partitions=nlist))
    probes = [token_probes(query, made.wrist, STRIDE_S).vector[0] for query in made.queries]
    truth = ann.exact(np.stack(probes), made.vectors, None)
    # As many lists as one vector needs that is looked up alone.
    lists = None
    if nlist:
        needed = ann.lists_needed(made.index.faiss_blocks[0], made.vectors, made.windows, np.random.default_rng(0))
        lists = ann.fewest(needed, ann.TARGET_RECALL)[0]
    spent, rows = timed_calls(lambda probe: made.index.search(probe[None], 10, nprobe=lists)[1][0], probes)
    ours = {**p50_p95(spent), "recall_at_10": round(recall_of(np.stack(rows), truth), 4), "nprobe": lists}

    def ask(nprobes: int) -> Callable[[Float32], Any]:
        def call(probe: Float32) -> Any:
            query = table.search(probe, vector_column_name="vector").distance_type("dot").with_row_id(True).limit(10)
            rows = (query.nprobes(nprobes) if nlist else query).select(["_rowid"]).to_arrow()["_rowid"].to_numpy()
            return np.pad(rows.astype(np.int64), (0, 10 - len(rows)), constant_values=-1)

        return call

    nprobes = 1
    while True:
        rows = [ask(nprobes)(probe) for probe in probes]
        recall = recall_of(np.stack(rows), truth)
        if recall >= ours["recall_at_10"] or nprobes >= nlist:
            break
        nprobes *= 2
    spent, _ = timed_calls(ask(nprobes), probes)
    theirs = {**p50_p95(spent), "recall_at_10": round(recall, 4), "nprobes": nprobes if nlist else None}
    return {"ours": ours, "lancedb": theirs, "times_faster": round(theirs["p50_ms"] / ours["p50_ms"], 1)}


def tokens_of_windows(made: Made) -> Float32:
    """(N, SIZE, D): every window's tokens, as engines without streams need them."""
    count = len(made.movements.activity)
    token = made.movements.at(np.arange(count), np.arange(LENGTH) * TOKEN_S, np.random.default_rng(1))
    first = np.arange(WINDOWS_EACH) * round(STRIDE_S / TOKEN_S)
    return np.ascontiguousarray(token[:, first[:, None] + np.arange(SIZE)].reshape(-1, SIZE, WIDTH))


def lance_multivectors(made: Made, windows: Float32, folder: Path) -> dict[str, Any]:
    inner = pa.FixedSizeListArray.from_arrays(windows.reshape(-1), WIDTH)
    offsets = np.arange(len(windows) + 1, dtype=np.int32) * SIZE
    table = lancedb.connect(folder).create_table(
        "multivectors", pa.table({"vector": pa.ListArray.from_arrays(offsets, inner)})
    )
    asked = [query.token[0, WRIST] for query in made.queries[:20]]

    def call(query: Float32) -> int:
        found = table.search(query, vector_column_name="vector").distance_type("cosine").with_row_id(True).limit(10)
        return int(found.select(["_rowid"]).to_arrow()["_rowid"][0].as_py())

    call(asked[0])
    spent, rows = timed_calls(call, asked)
    right = np.mean(made.columns.recording[np.array(rows)] == made.asked[:20])
    return {**p50_p95(spent), "right_recording_first": round(float(right), 3)}


def plaid(made: Made, windows: Float32, folder: Path, kept: Path) -> dict[str, Any] | str:
    """kept: where its index is, or goes: it takes minutes to build."""
    python = os.environ.get("FAST_PLAID_PYTHON")
    if not python:
        return "left out: $FAST_PLAID_PYTHON names no Python that has fast-plaid"
    np.savez(folder / "plaid.npz", windows=windows, queries=np.stack([q.token[0, WRIST] for q in made.queries[:20]]))
    kept.mkdir(parents=True, exist_ok=True)
    out: dict[str, Any] = {}
    for cores in range(1, (os.cpu_count() or 1) + 1):
        command = [python, "-c", PLAID, str(folder / "plaid.npz"), str(cores), str(kept)]
        threads = {**os.environ, "OMP_NUM_THREADS": str(cores), "RAYON_NUM_THREADS": str(cores)}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=threads)
        if done.returncode:
            return f"left out: {done.stderr.strip().splitlines()[-1]}"
        told = json.loads(done.stdout.strip().splitlines()[-1])
        right = np.mean(made.columns.recording[np.array(told["first"])] == made.asked[:20])
        out[f"{cores} cores"] = {**p50_p95(told["spent_s"][1:]), "right_recording_first": round(float(right), 3)}
        out["build_s"] = round(told["build_s"], 1)
    return out


def fresh(folder: Path) -> dict[str, float]:
    """The first queries of a new process, median of 3, on an archive of 20 made sensor files."""
    import motionseek as ms

    sources = folder / "sensors"
    sources.mkdir()
    rng = np.random.default_rng(0)
    t_s = np.arange(1000) / 50
    for i in range(20):
        swing = np.sin(2 * np.pi * rng.uniform(0.3, 2.0, 6) * t_s[:, None]) * [3, 3, 3, 2, 2, 2] + [0, 0, 9.8, 0, 0, 0]
        table = np.column_stack([t_s, swing + rng.normal(0, 0.05, swing.shape)])
        header = "t_s,ax_mps2,ay_mps2,az_mps2,gx_rps,gy_rps,gz_rps"
        np.savetxt(sources / f"right_wrist_{i}.csv", table, fmt="%.5f", delimiter=",", header=header, comments="")
    ms.index([sources], folder / "first")
    query = str(sources / "right_wrist_3.csv")
    subprocess.run([sys.executable, "-c", FRESH, str(folder / "first"), query], check=True, capture_output=True)
    told = []
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-c", FRESH, str(folder / "first"), query], check=True, capture_output=True, text=True
        )
        told.append(json.loads(done.stdout))
    return {name: round(float(np.median([t[name] for t in told])), 2) for name in told[0]}


def load() -> float:
    """How many processes ran beside, on the average of the last minute."""
    return round(os.getloadavg()[0], 1)


def draw(report: dict[str, Any], path: Path) -> None:
    from matplotlib.figure import Figure

    held = {int(size): row for size, row in report["sizes"].items() if "whole_answer" in row}
    sizes = sorted(held)
    rows = [held[size] for size in sizes]
    figure = Figure(figsize=(6, 3.6), dpi=100)
    axes = figure.add_subplot()
    axes.plot(sizes, [r["whole_answer"]["p50_ms"] for r in rows], "o-", label="whole answer, p50")
    axes.plot(sizes, [r["whole_answer"]["p95_ms"] for r in rows], "o:", label="whole answer, p95")
    axes.plot(sizes, [r["bare_faiss_and_product"]["p50_ms"] for r in rows], "s--", label="bare FAISS and product, p50")
    axes.set(xscale="log", yscale="log", xlabel="windows", ylabel="milliseconds a query")
    axes.grid(visible=True, which="both", alpha=0.3)
    axes.legend()
    figure.tight_layout()
    figure.savefig(path)


def keep(report: dict[str, Any], out: Path | None, picture: Path | None) -> None:
    """What was measured so far: a million windows take their time."""
    if out:
        out.write_text(json.dumps(report, indent=1) + "\n")
    if picture and report.get("sizes"):
        draw(report, picture)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--queries", type=int, default=50)
    parser.add_argument(
        "--tokens-most", type=int, default=100_000, help="windows for engines that hold each one's tokens"
    )
    parser.add_argument(
        "--only", nargs="+", choices=STEPS, help="measure only this, and keep the rest of what --out holds"
    )
    parser.add_argument("--picture", type=Path, help="where to draw the growth")
    parser.add_argument("--keep", type=Path, help="a folder to keep fast-plaid's indexes in, for another run")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    report: dict[str, Any] = json.loads(args.out.read_text()) if args.only and args.out and args.out.exists() else {}
    report["machine"] = {
        **machine(),
    }
    report |= {"versions": {"faiss": faiss.__version__, "lancedb": lancedb.__version__}, "queries": args.queries}
    steps = args.only or STEPS
    if "fresh" in steps:
        with tempfile.TemporaryDirectory() as name:
            report["fresh_process"] = {"load_before": load(), **fresh(Path(name))}
        keep(report, args.out, None)
    for size in args.sizes if set(steps) - {"fresh"} else ():
        with tempfile.TemporaryDirectory() as name:
            made = Made(size, Path(name), args.queries)
            told = report.setdefault("sizes", {}).setdefault(str(len(made.windows)), {})
            if "answer" in steps:
                told |= {"load_before": load(), **ours(made)}
                keep(report, args.out, args.picture)
            if "vector" in steps:
                told["one_vector"] = {"load_before": load(), **lance_vectors(made, Path(name) / "peer")}
            if "tokens" in steps and size <= args.tokens_most:
                windows = tokens_of_windows(made)
                told["lancedb_multivector"] = lance_multivectors(made, windows, Path(name) / "peer")
                told["fast_plaid"] = plaid(
                    made, windows, Path(name), (args.keep or Path(name)) / f"plaid_{len(windows)}"
                )
        keep(report, args.out, args.picture)
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
