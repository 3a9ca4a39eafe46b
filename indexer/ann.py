"""Nearest vectors: FAISS over the vectors of one space and level. A cache; the truth is in Lance.

Three files an index under `ann/`: NAME.faiss, NAME.arrow (the windows, aligned with the rows) and NAME.json, written
last, with the sha256 of both, the versions of the tables they were built from, and what was measured. Whatever does
not fit together is built again; a file that was changed never answers.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from motionseek.errors import MissingExtra, QueryError
from motionseek.indexer.schema import vector_table_name
from motionseek.types import Bool, Float32, Level

if TYPE_CHECKING:
    from motionseek.indexer.store import Store

Int64 = npt.NDArray[np.int64]
EXACT_ROWS = 20_000
"""Up to this size a full scan is as fast as anything else."""
BRUTE_ROWS = 20_000
"""Where a filter leaves no more rows than this, they are scanned in full."""
TARGET_RECALL = 0.99
SEEN_PER_ANSWER = 10
"""How many rows that may answer are looked at for each answer wanted, at least."""
GPU_MOST = 2048
"""Largest k and number of lists that FAISS takes on a GPU."""
LAYOUT = 1


def import_faiss() -> Any:
    """The module faiss, from either of its two packages. Raises MissingExtra."""
    try:
        import faiss
    except ImportError as error:
        raise MissingExtra("FAISS", "cpu") from error
    return faiss


@dataclass(eq=False)
class AnnIndex:
    """Vectors of one (space, level), ready to search. Scores are inner products: of unit vectors, so cosines, at the
    levels global and local; of projected windows, un-normalised, at the level token.

    windows: metadata aligned with the rows, sorted by recording, modality, person and start.
    recall: recall@10 against a full scan, measured when built.    parameters: what it was built with.
    """

    space: str
    level: Level
    kind: Literal["exact", "ivf"]
    recall: float
    fingerprint: str
    parameters: dict[str, Any]
    windows: pa.Table
    _index: Any
    _gpu: Any = None

    def __len__(self) -> int:
        return len(self.windows)

    @property
    def part(self) -> npt.NDArray[np.str_] | None:
        """(N,) the part of each row, at the level local."""
        return np.asarray(self.windows["part"].to_pylist()) if "part" in self.windows.column_names else None

    def vectors(self, rows: Int64) -> Float32:
        """The vectors of `rows` (R,) → (R, D) float32."""
        out = np.empty((len(rows), self._index.d), np.float32)
        if len(rows):
            self._index.reconstruct_batch(np.ascontiguousarray(rows, np.int64), x=out)
        return out

    def search(self, query: Float32, k: int, keep: Bool | None = None) -> tuple[Float32, Int64]:
        """The best k rows of each query (Q, D) float32: scores (Q, k) and rows (Q, k), -inf and -1 where none is left.

        keep: (N,), the rows that may answer. Where it leaves few, they are scanned in full. Raises QueryError where
        the query's width or k does not fit.
        """
        query = np.ascontiguousarray(query, np.float32)
        if query.ndim != 2 or (len(self) and query.shape[1] != self._index.d):
            raise QueryError(
                f"queries of the {self.level} level of {self.space!r} must be (Q, {self._index.d}), not {query.shape}"
            )
        if k < 1:
            raise QueryError(f"k must be at least 1, not {k}")
        if keep is not None and keep.shape != (len(self),):
            raise QueryError(f"keep must have one entry for each of the {len(self)} rows, not shape {keep.shape}")
        scores = np.full((len(query), k), -np.inf, np.float32)
        rows = np.full((len(query), k), -1, np.int64)
        kept = len(self) if keep is None else int(keep.sum())
        best = min(k, kept)
        if not best or not len(query):
            return scores, rows
        if keep is not None and kept < len(self) and kept <= max(BRUTE_ROWS, k):
            scores[:, :best], rows[:, :best] = self._scan(query, np.flatnonzero(keep), best)
        else:
            scores[:, :best], rows[:, :best] = self._ask(query, best, keep if kept < len(self) else None)
            rows[~np.isfinite(scores) | (rows < 0)] = -1
            scores[rows < 0] = -np.inf
        return scores, rows

    def _ask(self, query: Float32, k: int, keep: Bool | None) -> tuple[Float32, Int64]:
        faiss = import_faiss()
        selector, bits = None, None
        if keep is not None:
            bits = np.packbits(keep, bitorder="little")
            selector = faiss.IDSelectorBitmap(bits)
        if self.kind == "exact":
            options = faiss.SearchParameters(sel=selector) if selector else None
            engine = self._gpu if self._gpu is not None and selector is None and k <= GPU_MOST else self._index
            found: tuple[Float32, Int64] = engine.search(query, k, params=options)
            return found
        nlist, kept = int(self.parameters["nlist"]), len(self) if keep is None else int(keep.sum())
        # The recall was measured for ten answers: for more, and for fewer rows that may answer, look into more lists.
        nprobe = min(nlist, max(int(self.parameters["nprobe"]), -(-SEEN_PER_ANSWER * k * nlist // kept)))
        options = faiss.SearchParametersIVF(sel=selector, nprobe=nprobe)
        on_gpu = self._gpu is not None and selector is None and max(k, nprobe) <= GPU_MOST
        engine = self._gpu if on_gpu else self._index
        found = engine.search(query, k, params=options)
        short = (found[1] < 0).any(axis=1)
        if short.any():
            # The probed lists held too few rows that may answer: look into all of them.
            options = faiss.SearchParametersIVF(sel=selector, nprobe=nlist)
            found[0][short], found[1][short] = self._index.search(query[short], k, params=options)
        return found

    def _scan(self, query: Float32, rows: Int64, k: int) -> tuple[Float32, Int64]:
        scores = query @ self.vectors(rows).T
        top = np.argpartition(-scores, k - 1, axis=1)[:, :k] if k < len(rows) else np.arange(len(rows))[None]
        top = np.broadcast_to(top, (len(query), k))
        order = np.argsort(-np.take_along_axis(scores, top, 1), axis=1, kind="stable")
        top = np.take_along_axis(top, order, 1)
        return np.take_along_axis(scores, top, 1), rows[top]


def open_index(store: Store, space: str, level: Level) -> AnnIndex:
    """The index of (space, level): from its files where they fit the archive, else built from Lance and written.

    Raises ArchiveError where the archive has no such vectors, MissingExtra without FAISS.
    """
    import_faiss()
    found = _load(store, space, level)
    return _with_gpu(found if found is not None else build_index(store, space, level))


def build_index(store: Store, space: str, level: Level, *, write: bool = True) -> AnnIndex:
    """Build from Lance; where the folder can be written to, keep it there."""
    faiss = import_faiss()
    built_from = _built_from(store, space, level)
    windows, matrix = store.vectors(space, level)
    windows = windows.combine_chunks()
    width = max(1, matrix.shape[1])
    if len(matrix) <= EXACT_ROWS:
        index: Any = faiss.IndexFlatIP(width)
        index.add(matrix)
        kind: Literal["exact", "ivf"] = "exact"
        recall: float = 1.0
        parameters: dict[str, Any] = {}
    else:
        kind = "ivf"
        index, recall, parameters = _ivf(faiss, matrix, windows)
    ann = AnnIndex(space, level, kind, recall, built_from["fingerprint"], parameters, windows, index)
    if write:
        try:
            _save(store.ann_dir, ann, built_from)
        except PermissionError:
            # An archive that may only be read is searched all the same; its index is built at each opening.
            return ann
    return ann


def _ivf(faiss: Any, matrix: Float32, windows: pa.Table) -> tuple[Any, float, dict[str, Any]]:
    """IVF over exact vectors, with the fewest probed lists that reach the recall aimed at."""
    n, width = matrix.shape
    nlist = int(2 ** np.round(np.log2(4 * np.sqrt(n))))
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(width), width, nlist, faiss.METRIC_INNER_PRODUCT)
    index.cp.min_points_per_centroid = 5
    index.cp.seed = 1
    rng = np.random.default_rng(0)
    index.train(matrix[np.sort(rng.choice(n, min(n, 64 * nlist), replace=False))])
    index.add(matrix)
    index.make_direct_map()
    query, selector, bits = _probe(faiss, matrix, windows, rng)
    truth = _exact(query, matrix, None if bits is None else np.unpackbits(bits, count=n, bitorder="little") > 0)
    nprobe = 1
    while True:
        options = faiss.SearchParametersIVF(sel=selector, nprobe=nprobe)
        got = index.search(query, 10, params=options)[1]
        recall = float(np.mean([len(np.intersect1d(a, b)) / 10 for a, b in zip(got, truth, strict=True)]))
        if recall >= TARGET_RECALL or nprobe >= nlist:
            break
        nprobe = min(nlist, nprobe * 2)
    index.nprobe = nprobe
    return index, round(recall, 4), {"nlist": nlist, "nprobe": nprobe, "measured_with": len(query)}


def _probe(
    faiss: Any, matrix: Float32, windows: pa.Table, rng: np.random.Generator
) -> tuple[Float32, Any, npt.NDArray[np.uint8] | None]:
    """Queries to measure recall with: windows of one modality, which look for those of the others, as searches do.
    With one modality only, windows look for windows."""
    modality = np.asarray(windows["modality"].to_pylist())
    names, counts = np.unique(modality, return_counts=True)
    asks = modality == names[counts.argmin()]
    others = ~asks if len(names) > 1 and (~asks).sum() >= 10 else None
    rows = np.flatnonzero(asks)
    query = matrix[rng.choice(rows, min(len(rows), 200), replace=False)]
    if others is None:
        return query, None, None
    bits = np.packbits(others, bitorder="little")
    return query, faiss.IDSelectorBitmap(bits), bits


def _exact(query: Float32, matrix: Float32, keep: Bool | None) -> Int64:
    """Rows of the ten best inner products, by a full scan in pieces."""
    best_score = np.full((len(query), 10), -np.inf, np.float32)
    best_row = np.full((len(query), 10), -1, np.int64)
    for first in range(0, len(matrix), 65_536):
        scores = query @ matrix[first : first + 65_536].T
        if keep is not None:
            scores[:, ~keep[first : first + 65_536]] = -np.inf
        top = np.argpartition(-scores, min(9, scores.shape[1] - 1), axis=1)[:, :10]
        all_scores = np.concatenate([best_score, np.take_along_axis(scores, top, 1)], axis=1)
        all_rows = np.concatenate([best_row, top + first], axis=1)
        order = np.argsort(-all_scores, axis=1, kind="stable")[:, :10]
        best_score, best_row = np.take_along_axis(all_scores, order, 1), np.take_along_axis(all_rows, order, 1)
    return best_row


def _with_gpu(ann: AnnIndex) -> AnnIndex:
    faiss = import_faiss()
    if faiss.get_num_gpus() > 0 and len(ann):
        ann._gpu = faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), 0, ann._index)
    return ann


def _built_from(store: Store, space: str, level: Level) -> dict[str, Any]:
    model = store.models().get(space)
    return {
        "layout": LAYOUT,
        "space": space,
        "level": level,
        "tables": store.versions(space, level),
        "fingerprint": model.fingerprint if model else "",
    }


def _paths(folder: Path, space: str, level: Level) -> tuple[Path, Path, Path]:
    name = vector_table_name(space, level)
    return folder / f"{name}.faiss", folder / f"{name}.arrow", folder / f"{name}.json"


def why_stale(store: Store, space: str, level: Level) -> str:
    """Why the stored index of (space, level) cannot be used; "" where it can."""
    faiss_path, windows_path, card_path = _paths(store.ann_dir, space, level)
    try:
        card = json.loads(card_path.read_text(encoding="utf-8"))
        stored = {key: card.get(key) for key in ("layout", "space", "level", "tables", "fingerprint")}
        if stored != _built_from(store, space, level):
            return "the archive has changed since it was built"
        if _sha256(faiss_path) != card["sha256"] or _sha256(windows_path) != card["windows_sha256"]:
            return "a file is not the one that was written"
    except FileNotFoundError as error:
        return f"{Path(error.filename).name} is missing"
    except (OSError, ValueError, KeyError, AttributeError) as error:
        return f"its sidecar cannot be read ({error})"
    return ""


def _load(store: Store, space: str, level: Level) -> AnnIndex | None:
    paths = faiss_path, windows_path, card_path = _paths(store.ann_dir, space, level)
    before = _stamps(paths)
    if why_stale(store, space, level):
        return None
    faiss = import_faiss()
    card = json.loads(card_path.read_text(encoding="utf-8"))
    with pa.memory_map(str(windows_path)) as source:
        windows = pa.ipc.open_file(source).read_all()
    index = faiss.read_index(str(faiss_path))
    if len(windows) != index.ntotal or _stamps(paths) != before:
        # Another process has just put its own files here.
        return None
    return AnnIndex(
        space, level, card["kind"], card["recall_at_10"], card["fingerprint"], card["parameters"], windows, index
    )


def _save(folder: Path, ann: AnnIndex, built_from: dict[str, Any]) -> None:
    faiss = import_faiss()
    folder.mkdir(parents=True, exist_ok=True)
    faiss_path, windows_path, card_path = _paths(folder, ann.space, ann.level)

    def write_windows(path: Path) -> None:
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, ann.windows.schema) as writer:
            writer.write_table(ann.windows)

    sha256 = _replace(faiss_path, lambda path: faiss.write_index(ann._index, str(path)))
    windows_sha256 = _replace(windows_path, write_windows)
    card = {
        **built_from,
        "kind": ann.kind,
        "rows": len(ann),
        "width": int(ann._index.d),
        "recall_at_10": ann.recall,
        "parameters": ann.parameters,
        "faiss": faiss.__version__,
        "sha256": sha256,
        "windows_sha256": windows_sha256,
    }
    _replace(card_path, lambda path: path.write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8"))


def _replace(path: Path, write: Callable[[Path], object]) -> str:
    """Write beside `path`, bring it to the disk, then rename: whoever reads sees the old file or the new one whole."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        write(partial)
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        sha256 = _sha256(partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return sha256


def _stamps(paths: Sequence[Path]) -> list[tuple[int, int, int]]:
    stats = [path.stat() for path in paths if path.exists()]
    return [(s.st_ino, s.st_mtime_ns, s.st_size) for s in stats]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
