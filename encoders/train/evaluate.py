"""What the starter is validated by, on motion that its training did not see."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from motionseek.encoders.motion import ActionEncoder, MotionEncoder, token_mask
from motionseek.encoders.preprocess import IMU_SLOTS
from motionseek.encoders.train.data import SIMULATED, Corpus, draw_batch

Int = npt.NDArray[np.int64]


def average_precision(score: npt.NDArray[np.floating], relevant: npt.NDArray[np.bool_]) -> float:
    """Mean of the precision at each relevant item, ranked by falling score (N,); ties keep their order."""
    hits = relevant[np.argsort(-score, kind="stable")]
    if not hits.any():
        return float("nan")
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    return float(precision[hits].mean())


def recall_at(scores: npt.NDArray[np.floating], k: int) -> float:
    """Scores (N, N), row i's right answer in column i: share of rows with it among the k best; ties count against."""
    better = (scores >= scores.diagonal()[:, None]).sum(1)
    return float((better <= k).mean())


def retrieval(queries: Tensor, pool: Tensor) -> dict[str, float]:
    """Unit vectors (N, D) each, rows belonging together → R@1, R@5 and MRR; ties count against."""
    ranks = []
    for at in range(0, len(queries), 1024):
        scores = queries[at : at + 1024] @ pool.T
        own = scores.diagonal(at)[:, None]
        ranks.append((~(scores < own)).sum(1))
    rank = torch.cat(ranks).double()
    return {
        **{f"R@{k}": float((rank <= k).double().mean()) for k in (1, 5)},
        "MRR": float((1 / rank).mean()),
    }


@torch.inference_mode()
def action_report(
    corpus: Corpus,
    clips: Int,
    nets: tuple[ActionEncoder, ActionEncoder],
    captions: Mapping[str, Sequence[str]],
    encode: Callable[[list[str]], Tensor],
) -> dict[str, object]:
    """Average precision of each content's first caption over windows of `clips`, per sensor slot and for pose."""
    rng = np.random.default_rng(1)
    batch = draw_batch(corpus, clips, rng, SIMULATED)
    contents = np.array([corpus.labels[i].split("/", 1)[1] for i in corpus.label[clips]])
    names = sorted(set(contents))
    first = {n: next(c[0] for label, c in captions.items() if label.split("/", 1)[1] == n) for n in names}
    text = F.normalize(encode([first[n] for n in names]), dim=-1)
    meant = (text @ text.T > 0.95).numpy()
    imu, pose = nets
    report: dict[str, object] = {}
    vectors = {"pose": pose(torch.from_numpy(batch.pose), torch.from_numpy(batch.pose_mask))}
    for slot, name in enumerate(IMU_SLOTS):
        only = torch.tensor([slot])
        vectors[name] = imu(torch.from_numpy(batch.imu), torch.from_numpy(batch.imu_mask), only)
    for name, z in vectors.items():
        scores = (F.normalize(z, dim=-1) @ text.T).numpy()
        ap = {
            first[n]: average_precision(
                scores[:, i], np.isin(contents, [m for j, m in enumerate(names) if meant[i, j]])
            )
            for i, n in enumerate(names)
        }
        report[name] = {
            "mAP": round(float(np.mean(list(ap.values()))), 3),
            "chance": round(float(np.mean([(contents == n).mean() for n in names])), 3),
            "AP": {k: round(v, 2) for k, v in ap.items()},
        }
    return report


@torch.inference_mode()
def motion_report(
    corpus: Corpus, clips: Int, nets: tuple[MotionEncoder, MotionEncoder], *, pool: int = 256
) -> dict[str, object]:
    """IMU → pose R@1 and R@5 among windows of held-out clips, by tokens, projection, local and global vectors."""
    rng = np.random.default_rng(1)
    long = clips[corpus.length[clips] >= 150]
    chosen = rng.choice(long, min(pool, len(long)), replace=False)
    batch = draw_batch(corpus, chosen, rng, SIMULATED)
    report: dict[str, object] = {"pool": len(chosen), "chance": round(1 / len(chosen), 4)}
    for name, parts in {"5 sensors": [0, 1, 2, 3, 4], "left_wrist": [0], "right_knee": [3], "head": [4]}.items():
        kept = torch.zeros(6, dtype=torch.bool)
        kept[parts] = True
        sides = []
        for net, x, mask in zip(nets, (batch.imu, batch.pose), (batch.imu_mask, batch.pose_mask), strict=True):
            seen = token_mask(torch.from_numpy(mask[:, :6])) & kept[:, None]
            tokens = F.normalize(net.tokens(torch.from_numpy(x)), dim=-1) * seen[..., None]
            local, global_ = net.pool(tokens, seen)
            sides.append((tokens, seen, local * kept[:, None], global_, net.project(tokens, seen)))
        (a, am, al, ag, ap), (b, bm, bl, bg, bp) = sides
        count = am.flatten(1).float() @ bm.flatten(1).float().T
        token = a.flatten(1) @ b.flatten(1).T / count.clamp(min=1)
        scores = {
            "token": token,
            "projected": ap @ bp.T,
            "local": F.normalize(al, dim=-1).flatten(1) @ F.normalize(bl, dim=-1).flatten(1).T,
            "global": F.normalize(ag, dim=-1) @ F.normalize(bg, dim=-1).T,
        }
        report[name] = {
            level: {f"R@{k}": round(recall_at(s.numpy(), k), 3) for k in (1, 5)} for level, s in scores.items()
        }
    return report
