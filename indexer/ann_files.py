"""The files of an index under `ann/`: NAME.faiss (NAME.0.faiss … where a row has several blocks), NAME.arrow (the
windows, aligned with the rows) and NAME.json.

The card, NAME.json, is written last, with the sha256 of the other files, the versions of the tables they were built
from, and what was measured. Whatever does not fit together is built again; a file that was changed never answers. Files
whose size and time of change are those that the card noted need not be read whole to be trusted, so that opening takes
milliseconds whatever the size; `motionseek verify` reads them whole.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from motionseek.indexer.nearest import AnnIndex, import_faiss
from motionseek.indexer.schema import vector_table_name
from motionseek.types import Level

if TYPE_CHECKING:
    from motionseek.indexer.store import Store

LAYOUT = 3
CHANGED = "the archive has changed since it was built"
_CODED = ("recording_id", "modality", "person", "caption", "part")
"""Columns whose few values repeat: kept as dictionaries, which open as arrays without being read."""


def card_path(folder: Path, space: str, level: Level) -> Path:
    return folder / f"{vector_table_name(space, level)}.json"


def _files(folder: Path, space: str, level: Level, blocks: int) -> list[Path]:
    """The windows' file, then one of FAISS for each block."""
    name = vector_table_name(space, level)
    middles = [""] if blocks == 1 else [f".{block}" for block in range(blocks)]
    return [folder / f"{name}.arrow", *(folder / f"{name}{middle}.faiss" for middle in middles)]


def built_from(store: Store, space: str, level: Level) -> dict[str, Any]:
    """What an index over (space, level) depends on."""
    model = store.models().get(space)
    return {
        "layout": LAYOUT,
        "space": space,
        "level": level,
        "tables": store.versions(space, level),
        "fingerprint": model.fingerprint if model else "",
    }


def coded(windows: pa.Table) -> pa.Table:
    """The windows in one piece, repeated names as dictionaries."""
    windows = windows.combine_chunks()
    for name in _CODED:
        if name in windows.column_names:
            at = windows.column_names.index(name)
            column = windows[name].combine_chunks().dictionary_encode()
            windows = windows.set_column(at, name, column)
    return windows


def why_stale(store: Store, space: str, level: Level, *, thorough: bool = True) -> str:
    """Why the stored index of (space, level) cannot be used; "" where it can.

    thorough: read the files whole, even where their size and time of change are those that were noted.
    """
    try:
        card = _card(card_path(store.ann_dir, space, level))
        stored = {key: card.get(key) for key in ("layout", "space", "level", "tables", "fingerprint")}
        if stored != built_from(store, space, level):
            return CHANGED
        for path in _files(store.ann_dir, space, level, card["blocks"]):
            known = card["files"][path.name]
            if (thorough or known["stamp"] != _stamp(path)) and _sha256(path) != known["sha256"]:
                return "a file is not the one that was written"
    except FileNotFoundError as error:
        return f"{Path(error.filename).name} is missing"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"its sidecar cannot be read ({error})"
    return ""


def parameters(store: Store, space: str, level: Level) -> dict[str, Any]:
    """What the stored index was built with, even where it is stale; empty where that cannot be read."""
    try:
        return dict(_card(card_path(store.ann_dir, space, level))["parameters"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def load(store: Store, space: str, level: Level) -> AnnIndex | str:
    """The stored index, its vectors and windows mapped into memory rather than read; or why it cannot be used."""
    if why := why_stale(store, space, level, thorough=False):
        return why
    faiss = import_faiss()
    path = card_path(store.ann_dir, space, level)
    try:
        card = _card(path)
        windows_path, *faiss_paths = files = _files(store.ann_dir, space, level, card["blocks"])
        windows = pa.ipc.open_file(pa.memory_map(str(windows_path))).read_all()
        blocks = [faiss.read_index(str(file), faiss.IO_FLAG_MMAP_IFC) for file in faiss_paths]
        measured = card["kind"], card["recall_at_10"], card["fingerprint"], card["parameters"]
    except (OSError, RuntimeError, ValueError, KeyError) as error:  # damaged without a change of size or time
        return f"it cannot be read ({' '.join(str(error).split())[:200]})"
    found = AnnIndex(space, level, *measured, windows, blocks)
    if any(block.ntotal != len(windows) for block in blocks) or _card(path) != card:
        return "another process is writing it"
    _note(path, card, files)
    return found


def save(folder: Path, ann: AnnIndex, depends: dict[str, Any]) -> None:
    """Raises OSError where the folder cannot be written to."""
    faiss = import_faiss()
    folder.mkdir(parents=True, exist_ok=True)
    windows_path, *faiss_paths = files = _files(folder, ann.space, ann.level, ann.blocks)

    def write_windows(path: Path) -> None:
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, ann.windows.schema) as writer:
            writer.write_table(ann.windows)

    sha256 = [_replace(windows_path, write_windows)]
    for path, block in zip(faiss_paths, ann.faiss_blocks, strict=True):
        sha256.append(_replace(path, partial(_write_block, block)))
    card = {
        **depends,
        "kind": ann.kind,
        "rows": len(ann),
        "blocks": ann.blocks,
        "width": ann.width,
        "recall_at_10": ann.recall,
        "parameters": ann.parameters,
        "faiss": faiss.__version__,
        "files": {p.name: {"sha256": s, "stamp": _stamp(p)} for p, s in zip(files, sha256, strict=True)},
    }
    _write_card(card_path(folder, ann.space, ann.level), card)


def _write_block(block: Any, path: Path) -> None:
    """Raises OSError."""
    try:
        import_faiss().write_index(block, str(path))
    except RuntimeError as error:  # FAISS's word for a full disk
        raise OSError(str(error).rpartition("failed: ")[2]) from error


def _card(path: Path) -> dict[str, Any]:
    card: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return card


def _write_card(path: Path, card: dict[str, Any]) -> None:
    _replace(path, lambda new: new.write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8"))


def _note(path: Path, card: dict[str, Any], files: Sequence[Path]) -> None:
    """Note the stamps of files that were read whole and found right, as after the archive was copied."""
    noted = {file.name: {**card["files"][file.name], "stamp": _stamp(file)} for file in files}
    if card["files"] != noted:
        try:
            _write_card(path, {**card, "files": noted})
        except OSError:
            # An archive that may only be read is checked again at each opening.
            return


def _replace(path: Path, write: Callable[[Path], object]) -> str:
    """Write beside `path`, bring it to the disk, then rename: whoever reads sees the old file or the new one whole."""
    new = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        write(new)
        with new.open("rb+") as file:
            os.fsync(file.fileno())
        sha256 = _sha256(new)
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)
    return sha256


def _stamp(path: Path) -> list[int]:
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
