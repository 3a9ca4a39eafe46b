"""The index of one space and level: opened, or built from Lance with its recall measured against a full scan."""

from __future__ import annotations

import errno
import logging
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from motionseek.errors import ArchiveError
from motionseek.indexer import ann_files
from motionseek.indexer.ann_files import why_stale
from motionseek.indexer.nearest import AnnIndex, Int64, Kind, Rows, import_faiss, one_thread_for
from motionseek.indexer.schema import vector_table_name
from motionseek.types import Float32, Float64, Level

if TYPE_CHECKING:
    from motionseek.indexer.store import Store

__all__ = ["AnnIndex", "Rows", "build_index", "import_faiss", "open_index", "why_stale"]

log = logging.getLogger(__name__)
Tell = Callable[[int, int], None]
"""Called with the rows that are indexed and how many there are."""

EXACT_ROWS = 20_000
"""Up to this size a full scan is as fast as anything else."""
TARGET_RECALL = 0.99
MEASURED_WITH = 200
MOST_WEIGHT = 2.5
"""A window of two seconds weighs as one of five; what is shorter is little to go by."""
SHIFTED_S = (0.6, 1.2)
"""Where windows are so far apart, a query of projected tokens is looked up shifted as far, both ways."""
ROWS_PER_ADD = 65_536
TRAINING_ROUNDS = 4
"""Of k-means. With FAISS's own 10, training takes 2.5 times as long, for a tenth fewer lists to look through."""


def open_index(store: Store, space: str, level: Level, tell: Tell | None = None, *, written: bool = False) -> AnnIndex:
    """The index of (space, level): from its files where they fit the archive, else built from Lance and written.

    written: the archive was just written to, so that nobody expects them to fit.
    Raises ArchiveError where the archive has no such vectors or the disk is full, MissingExtra without FAISS.
    """
    import_faiss()
    found = ann_files.load(store, space, level)
    if isinstance(found, str):
        name = vector_table_name(space, level)
        # What was never there is no news; what cannot be used any more is.
        log.log(
            logging.INFO
            if found.endswith("is missing") or (written and found == ann_files.CHANGED)
            else logging.WARNING,
            f"{store.ann_dir / name}.faiss: {found}; building it again",
        )
        try:
            found = build_index(store, space, level, tell=tell)
        except OSError as error:
            raise ArchiveError(
                f"{store.ann_dir}: the index {name} cannot be written: {error.strerror or error}: mend it and run "
                f"again; the tables are whole"
            ) from error
    return _with_gpu(found)


def build_index(
    store: Store,
    space: str,
    level: Level,
    *,
    write: bool = True,
    tell: Tell | None = None,
    settings: Mapping[str, Any] | None = None,
) -> AnnIndex:
    """Build from Lance; where the folder can be written to, keep it there.

    settings: as `motionseek.search.tune` chooses them; by default those that the index was last tuned to.
    """
    depends = ann_files.built_from(store, space, level)
    windows, matrix = store.vectors(space, level)
    settings = dict(settings or ann_files.parameters(store, space, level).get("tuned", {}))
    count = _blocks(store, space, level, matrix.shape[1])
    ann = make_index(
        space, level, ann_files.coded(windows), matrix, count, settings, tell, fingerprint=depends["fingerprint"]
    )
    if write:
        try:
            ann_files.save(store.ann_dir, ann, depends)
        except OSError as error:
            # An archive that may only be read is searched all the same; its index is built at each opening.
            if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
                raise
    return ann


def make_index(
    space: str,
    level: Level,
    windows: pa.Table,
    matrix: Float32,
    blocks: int,
    settings: Mapping[str, Any],
    tell: Tell | None = None,
    *,
    fingerprint: str = "",
) -> AnnIndex:
    """The index of vectors (N, D), each of so many equal blocks, with their windows. See `build_index`.

    Projected tokens are sums over tokens: of a window that is shorter than the others they are weighed up to the
    others' length, so that FAISS finds what fits in the mean (`weights`).
    """
    faiss = import_faiss()
    began = time.perf_counter()
    kind: Kind = settings.get("kind", "exact" if len(matrix) <= EXACT_ROWS else "ivf") if len(matrix) else "exact"
    if level == "token" and len(matrix):
        matrix = matrix * weights(*(windows[name].to_numpy() for name in ("start_s", "end_s")))[:, None]
    recall, parameters, held = 1.0, dict[str, Any](), []
    for done, part in enumerate(np.split(matrix, blocks, axis=1)):
        if kind == "exact":
            index: Any = faiss.IndexFlatIP(max(1, part.shape[1]))
            index.add(np.ascontiguousarray(part))
        else:
            say = None if tell is None else partial(_of_all, tell, done, blocks)
            index, its_recall, of_block = ivf(
                np.ascontiguousarray(part), windows, settings, say, shifted=level == "token"
            )
            recall = min(recall, its_recall)
            parameters = {**of_block, "nprobe": [*parameters.get("nprobe", []), of_block["nprobe"]]}
        held.append(index)
    parameters |= {"build_s": round(time.perf_counter() - began, 3)}
    if settings:
        parameters |= {"tuned": dict(settings)}
    return AnnIndex(space, level, kind, recall, fingerprint, parameters, windows, held)


def weights(start_s: Float64, end_s: Float64) -> Float32:
    """(N,) by how much windows weigh more than the longest, up to MOST_WEIGHT."""
    length_s = end_s - start_s
    longest_s = length_s.max(initial=0)
    return np.asarray(longest_s / np.maximum(length_s, longest_s / MOST_WEIGHT), np.float32)


def _of_all(tell: Tell, block: int, blocks: int, rows: int, total: int) -> None:
    tell(block * total + rows, blocks * total)


def _blocks(store: Store, space: str, level: Level, width: int) -> int:
    """Into how many equal blocks the model that filled the space says that its vectors fall."""
    if level != "token":
        return 1
    encoders = store.models()[space].encoders.values()
    blocks = max((int(encoder.get("blocks", 1)) for encoder in encoders), default=1)
    return blocks if width % blocks == 0 else 1


def lists_for(rows: int) -> int:
    """How many lists suit so many rows: of 4 √rows, the nearest power of two."""
    return int(2 ** np.round(np.log2(4 * np.sqrt(rows))))


def ivf(
    matrix: Float32,
    windows: pa.Table,
    settings: Mapping[str, Any],
    tell: Tell | None = None,
    *,
    shifted: bool = False,
) -> tuple[Any, float, dict[str, Any]]:
    """IVF over exact vectors, with the fewest probed lists that reach the recall aimed at (`lists_needed`)."""
    faiss = import_faiss()
    n, width = matrix.shape
    nlist = min(int(settings.get("nlist", lists_for(n))), n)
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(width), width, nlist, faiss.METRIC_INNER_PRODUCT)
    # FAISS would delete the quantiser twice: Python holds it as well.
    index.cp.min_points_per_centroid = 5
    index.cp.seed = 1
    index.cp.niter = TRAINING_ROUNDS
    rng = np.random.default_rng(0)
    index.train(matrix[np.sort(rng.choice(n, min(n, 64 * nlist), replace=False))])
    for first in range(0, n, ROWS_PER_ADD):
        index.add(matrix[first : first + ROWS_PER_ADD])
        if tell is not None:
            tell(min(n, first + ROWS_PER_ADD), n)
    index.make_direct_map()
    needed = lists_needed(index, matrix, windows, rng, shifted=shifted)
    nprobe, recall = fewest(needed, float(settings.get("recall", TARGET_RECALL)))
    index.nprobe = nprobe
    return index, recall, {"nlist": nlist, "nprobe": nprobe, "measured_with": len(needed)}


def fewest(needed: Int64, aim: float) -> tuple[int, float]:
    """The fewest lists with which the share `aim` of what is looked for is found, and the share that then is.

    needed: how many lists each thing looked for needs.
    """
    if not needed.size:
        return 1, 1.0
    ordered = np.sort(needed, axis=None)
    nprobe = int(ordered[max(0, int(np.ceil(aim * len(ordered) - 1e-9)) - 1)])
    return nprobe, round(float(np.mean(ordered <= nprobe)), 4)


def lists_needed(
    index: Any, matrix: Float32, windows: pa.Table, rng: np.random.Generator, *, shifted: bool = False
) -> Int64:
    """How many of an index's lists must be looked into until windows (Q) that ask meet each of their ten best: (Q, 10).

    shifted: what asks is looked up shifted as well, together with itself: as the windows before and after it in its
    stream are, and the windows that these look for are those before and after its ten best. Whichever is met first
    leads to the same place.
    """
    rows, keep = own_queries(matrix, windows, rng)
    truth = exact(matrix[rows], matrix, keep)
    needed = _lists_until(index, matrix, rows, truth)
    for step in (-1, 1) if shifted else ():
        (asks, earlier_s), (wanted, apart_s) = (_beside(windows, at, step) for at in (rows, truth))
        same = np.abs(apart_s - earlier_s[:, None]) < 0.1
        needed = np.where(same, np.minimum(needed, _lists_until(index, matrix, asks, wanted)), needed)
    return np.where(truth >= 0, needed, 1)


def _lists_until(index: Any, matrix: Float32, rows: Int64, wanted: Int64) -> Int64:
    """How many lists the vectors of rows (Q,) look into until they come to those of the rows wanted (Q, K)."""
    with one_thread_for(wanted.size * matrix.shape[1] * index.nlist):
        nearest = index.quantizer.search(matrix[rows], index.nlist)[1]
        held_in = index.quantizer.search(matrix[wanted.reshape(-1)], 1)[1].reshape(wanted.shape)
    return np.asarray(np.take_along_axis(np.argsort(nearest, axis=1), held_in, axis=1) + 1)


def _beside(windows: pa.Table, rows: Int64, step: int) -> tuple[Int64, Float64]:
    """The windows next to those of `rows`, and how much later they begin: NaN where that is another stream, or as far
    as no query is shifted."""
    beside = np.clip(rows + step, 0, len(windows) - 1)
    start_s = windows["start_s"].to_numpy()
    later_s = start_s[beside] - start_s[rows]
    there = (np.abs(later_s) >= SHIFTED_S[0] - 1e-6) & (np.abs(later_s) <= SHIFTED_S[1] + 1e-6)
    for name in ("recording_id", "modality", "person"):
        code = _codes(windows, name)
        there &= code[beside] == code[rows]
    return beside, np.where(there, later_s, np.nan)


def _codes(windows: pa.Table, name: str) -> npt.NDArray[np.int32]:
    column = windows[name].combine_chunks()
    coded = column if isinstance(column, pa.DictionaryArray) else column.dictionary_encode()
    return np.asarray(coded.indices.to_numpy())


def own_queries(matrix: Float32, windows: pa.Table, rng: np.random.Generator) -> tuple[Int64, Rows | None]:
    """Rows to measure with, and those that may answer: windows of one modality, which look for those of the others, as
    searches do. With one modality only, windows look for windows. What is zero, as the block of a part that is not
    worn, asks for nothing."""
    codes = _codes(windows, "modality")
    counts = np.bincount(codes)
    asks = codes == np.where(counts > 0, counts, counts.max() + 1).argmin()
    others = Rows(~asks)
    rows = np.flatnonzero(asks)
    rows = rows[matrix[rows].any(axis=1)]
    rows = rng.choice(rows, min(len(rows), MEASURED_WITH), replace=False)
    return rows, others if others.count >= 10 else None


def exact(query: Float32, matrix: Float32, keep: Rows | None, k: int = 10) -> Int64:
    """Rows of the k best inner products, by a full scan in pieces: (Q, k)."""
    best_score = np.full((len(query), k), -np.inf, np.float32)
    best_row = np.full((len(query), k), -1, np.int64)
    for first in range(0, len(matrix), ROWS_PER_ADD):
        scores = query @ matrix[first : first + ROWS_PER_ADD].T
        if keep is not None:
            scores[:, ~keep.mask[first : first + ROWS_PER_ADD]] = -np.inf
        top = np.argpartition(-scores, min(k, scores.shape[1]) - 1, axis=1)[:, :k]
        all_scores = np.concatenate([best_score, np.take_along_axis(scores, top, 1)], axis=1)
        all_rows = np.concatenate([best_row, top + first], axis=1)
        order = np.argsort(-all_scores, axis=1, kind="stable")[:, :k]
        best_score, best_row = np.take_along_axis(all_scores, order, 1), np.take_along_axis(all_rows, order, 1)
    return best_row


def _with_gpu(ann: AnnIndex) -> AnnIndex:
    faiss = import_faiss()
    if faiss.get_num_gpus() > 0 and len(ann):
        resources = faiss.StandardGpuResources()
        ann._on_gpu = [faiss.index_cpu_to_gpu(resources, 0, block) for block in ann.faiss_blocks]
    return ann
