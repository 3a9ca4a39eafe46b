"""A model of the real networks with random weights, and recordings of made-up movement."""

from __future__ import annotations

import hashlib

import numpy as np
import torch

from motionseek.encoders.model import Model
from motionseek.encoders.motion import ActionConfig, ActionEncoder, MotionConfig, MotionEncoder
from motionseek.encoders.text import TextConfig, TextTower
from motionseek.encoders.towers import ActionTower, MotionTower, WordTower
from motionseek.types import Imu, Narration, PoseTrack, Recording, VideoRef


def random_networks(seed: int = 0) -> dict:
    """Untrained, but of one piece: sensors find the sensors they were cut from."""
    torch.manual_seed(seed)
    networks = {}
    for kind in ("imu", "pose"):
        net = whitened(MotionEncoder(MotionConfig(kind)))
        shape = net.projection.shape
        # A random projection keeps inner products.
        net.projection.copy_(torch.randn(shape, generator=torch.Generator().manual_seed(9)) / shape[1] ** 0.5)
        networks["motion", kind] = net
        networks["clip", kind] = ActionEncoder(ActionConfig(kind))
    networks["clip", "text"] = TextTower(TextConfig(layers=1))
    return networks


def random_model(seed: int = 0) -> Model:
    towers = {MotionEncoder: MotionTower, ActionEncoder: ActionTower, TextTower: WordTower}
    name = f"random {seed}"
    encoders = {
        (space, modality): towers[type(net)](net, modality, space, name, torch.device("cpu"))
        for (space, modality), net in random_networks(seed).items()
    }
    return Model(name, {"name": name}, name, encoders)


@torch.no_grad()
def whitened(net: MotionEncoder) -> MotionEncoder:
    """Tokens of a random network look alike; along the scaled principal axes of its features they do not."""
    net.eval()
    channels = net.trunk.config.channels
    t_s = np.arange(0, 60, 0.02)
    x = np.stack([moving(10_000 + p, t_s, channels).T for p in range(6)]).astype(np.float32)
    features = net.trunk(torch.from_numpy(x), torch.arange(6)).transpose(1, 2).flatten(0, 1)
    mean = features.mean(0)
    _, size, axes = torch.linalg.svd(features - mean, full_matrices=False)
    net.token.weight.copy_(axes[:24].repeat(3, 1)[:64] / (size[:24].repeat(3)[:64, None] + 1e-6))
    net.token.bias.copy_(-net.token.weight @ mean)
    return net


def moving(seed, t_s, channels):
    """A signal that is the same function of time however it is sampled: (L, channels)."""
    rng = np.random.default_rng(seed)
    turn = 2 * np.pi * rng.uniform(0.2, 4, (channels, 8))
    phase = rng.uniform(0, 2 * np.pi, (channels, 8))
    return np.sin(t_s[:, None, None] * turn + phase).sum(-1)


def an_imu(seed, t_s, placement="right_wrist", clock_s=None, person=""):
    x = moving(seed, t_s, 6)
    clock_s = t_s if clock_s is None else clock_s
    return Imu(clock_s, 3 * x[:, :3] + [0, 9.8, 0], clock_s, x[:, 3:], placement, person)


def a_pose(seed, t_s, person="0"):
    stand = np.linspace([300, 80], [340, 420], 17)
    xy = stand + 6 * moving(seed, t_s, 34).reshape(-1, 17, 2)
    return PoseTrack(t_s, xy, np.ones((len(t_s), 17)), (640, 480), person)


def a_recording(seed, duration_s=20.0, *, video=True, pose=True, imu=True, text=False, start_s=0.0, video_s=None):
    t_s = start_s + np.arange(0, duration_s, 0.02)
    seen_s = start_s + np.arange(0, duration_s, 1 / 30)
    span = video_s or (start_s, duration_s)
    return Recording(
        hashlib.sha256(str(seed).encode()).hexdigest(),
        f"take {seed}",
        (an_imu(seed, t_s), an_imu(seed + 500, t_s, "left_knee")) if imu else (),
        VideoRef(f"{seed}.mp4", span[0], span[1], 30.0, (640, 480)) if video else None,
        (a_pose(seed, seen_s),) if pose else (),
        (Narration(2.0, 6.0, f"someone does {seed}"),) if text else (),
        (f"label {seed % 3}",),
    )
