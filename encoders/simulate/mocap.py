"""Motion capture files → Motion: Bandai-Namco (npz), CMU (ASF/AMC), DeepMimic (json).

All three are brought to one reference pose, so that a segment's rotation means the same whatever the source: a person
who stands upright, faces +z with the left hand towards +x, legs straight, and **arms hanging down along the body,
turned so that bending an elbow brings the hand forward** (palms to the thighs, thumbs forward). A segment's rotation is
its global rotation times a constant that makes it the identity in that pose:

- DeepMimic's zero pose is the reference pose, only turned to face +x.
- CMU's zero pose has the arms stretched sideways and the legs spread by 20°: each limb is turned by the rotation that
  takes it to the vertical, and each arm about its own length so that the elbow's axis comes to lie sideways.
- Bandai-Namco's zero pose is no standing pose. Every joint's x axis runs along its bone and every hinge turns about y,
  so the bone's direction and the hinge's axis fix the reference.

`pelvis` is the middle between the hip joints and `head` the base of the skull, in every source.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation, Slerp

from motionseek.encoders.simulate.motion import JOINTS, Motion
from motionseek.errors import DamagedFile, UsageError
from motionseek.types import Float64

CMU_UNIT_M = 0.0254 / 0.45
"""Length of one CMU unit, whose files are scaled to "length 0.45"."""


def _turn(axis: str, angle_deg: float) -> Float64:
    matrix: Float64 = Rotation.from_euler(axis, angle_deg, degrees=True).as_matrix()
    return matrix


def _columns(x: tuple[int, int, int], y: tuple[int, int, int], z: tuple[int, int, int]) -> Float64:
    return np.array([x, y, z], dtype=np.float64).T


def _motion(
    name: str,
    rate_hz: float,
    position_m: Mapping[str, Float64],
    rotation: Mapping[str, Float64],
    labels: tuple[str, ...],
    source: str,
) -> Motion:
    """Put the joints in order; the pelvis is the middle between the hips."""
    position_m = {**position_m, "pelvis": (position_m["left_hip"] + position_m["right_hip"]) / 2}
    return Motion(
        name,
        rate_hz,
        np.stack([position_m[j] for j in JOINTS], axis=1),
        np.stack([rotation[j] for j in JOINTS], axis=1),
        labels,
        source,
    )


# Bandai-Namco ---------------------------------------------------------------------------------------------------------

_BANDAI_JOINTS = {
    "pelvis": "Hips",
    "chest": "Chest",
    "neck": "Neck",
    "head": "Head",
    **{
        f"{side}_{ours}": f"{theirs}_{side[0].upper()}"
        for side in ("left", "right")
        for ours, theirs in {
            "shoulder": "UpperArm",
            "elbow": "LowerArm",
            "wrist": "Hand",
            "hip": "UpperLeg",
            "knee": "LowerLeg",
            "ankle": "Foot",
        }.items()
    },
}
_BANDAI_FOOT_DEG = 55.0
"""Between the shank's and the foot's bone, standing upright: the foot's bone slopes from the ankle to the toes."""


def _bandai_rest() -> dict[str, Float64]:
    """Global rotation of every joint's own frame in the reference pose."""
    trunk = _columns((0, 1, 0), (0, 0, 1), (1, 0, 0))
    rest = {"pelvis": _columns((0, 1, 0), (-1, 0, 0), (0, 0, 1)), "chest": trunk, "neck": trunk, "head": trunk}
    limb = {"left": _columns((0, -1, 0), (1, 0, 0), (0, 0, 1)), "right": _columns((0, 1, 0), (1, 0, 0), (0, 0, -1))}
    for name in JOINTS[4:]:
        side, kind = name.split("_")
        rest[name] = limb[side] @ _turn("y", -_BANDAI_FOOT_DEG) if kind == "ankle" else limb[side]
    return rest


def read_bandai_npz(path: str | Path) -> Iterator[Motion]:
    """The clips of one archive of the Bandai-Namco Research Motiondataset, at 30 Hz; labels (content, style).

    The npz holds clip names and lengths, the skeleton, and per frame the translations of the first two joints (cm) and
    all Euler angles (0.01°, intrinsic Z, X, Y). Raises DamagedFile.
    """
    try:
        with np.load(path, allow_pickle=False) as npz:
            arrays = {
                key: npz[key]
                for key in (
                    "clip",
                    "length",
                    "joint",
                    "parent",
                    "offset_cm",
                    "fps",
                    "pos_root_hips_cm",
                    "euler_centideg",
                )
            }
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DamagedFile(path, f"not an npz of the Bandai-Namco dataset ({error})") from error
    names = [str(n).removeprefix("joint_") for n in arrays["joint"]]
    parent = [int(p) for p in arrays["parent"]]
    offset_m = arrays["offset_cm"].astype(np.float64) / 100
    align = {name: rotation.T for name, rotation in _bandai_rest().items()}
    stop = np.cumsum(arrays["length"])
    for clip, start, end in zip(arrays["clip"], stop - arrays["length"], stop, strict=True):
        euler_deg = arrays["euler_centideg"][start:end].astype(np.float64) / 100
        moved_m = arrays["pos_root_hips_cm"][start:end].astype(np.float64) / 100
        n = len(euler_deg)
        local = Rotation.from_euler("ZXY", euler_deg.reshape(-1, 3), degrees=True).as_matrix().reshape(n, -1, 3, 3)
        turned, at_m = [local[:, 0]], [moved_m[:, 0]]
        for j in range(1, len(names)):
            p = parent[j]
            step_m = moved_m[:, 1] if j == 1 else np.broadcast_to(offset_m[j], (n, 3))
            at_m.append(at_m[p] + np.einsum("nij,nj->ni", turned[p], step_m))
            turned.append(turned[p] @ local[:, j])
        at = {ours: names.index(theirs) for ours, theirs in _BANDAI_JOINTS.items()}
        _, content, style, _ = str(clip).split("_")
        yield _motion(
            str(clip),
            float(arrays["fps"]),
            {ours: at_m[j] for ours, j in at.items()},
            {ours: turned[j] @ align[ours] for ours, j in at.items()},
            (content, style),
            "bandai-namco",
        )


# CMU ------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Bone:
    parent: str
    step_m: Float64
    """From the bone's start to its end, in the file's zero pose."""
    axes: Float64
    """Its own axes in the zero pose, (3, 3)."""
    dof: tuple[str, ...]


_CMU_SEGMENTS: Mapping[str, tuple[str, str]] = {
    "pelvis": ("root", "root"),
    "chest": ("thorax", "thorax"),
    "neck": ("lowerneck", "lowerneck"),
    "head": ("upperneck", "head"),
    **{
        f"{side}_{ours}": (side[0] + start, side[0] + turned)
        for side in ("left", "right")
        for ours, start, turned in (
            ("shoulder", "humerus", "humerus"),
            ("elbow", "radius", "wrist"),
            ("wrist", "hand", "hand"),
            ("hip", "femur", "femur"),
            ("knee", "tibia", "tibia"),
            ("ankle", "foot", "foot"),
        )
    },
}
"""Our joint → (bone whose start it is, bone whose rotation it has). The forearm is radius, then "wrist", which only
turns about its length: where a watch sits, it turns along. The wrist joint lies where the hand begins."""


def _read_asf(path: str | Path) -> dict[str, _Bone]:
    try:
        text = Path(path).read_text()
        bones: dict[str, _Bone] = {"root": _Bone("", np.zeros(3), np.eye(3), ("tx", "ty", "tz", "rx", "ry", "rz"))}
        data, hierarchy = text.split(":bonedata")[1].split(":hierarchy")
        for block in data.split("begin")[1:]:
            fields = {words[0]: words[1:] for line in block.splitlines() if (words := line.split())}
            direction = np.array([float(v) for v in fields["direction"]])
            axes = Rotation.from_euler("xyz", [float(v) for v in fields["axis"][:3]], degrees=True).as_matrix()
            step_m = direction / np.linalg.norm(direction) * float(fields["length"][0]) * CMU_UNIT_M
            bones[fields["name"][0]] = _Bone("", step_m, axes, tuple(fields.get("dof", ())))
        parent = {child: line.split()[0] for line in hierarchy.splitlines() for child in line.split()[1:]}
        # Parents first: what moves a bone must be known before the bone.
        ordered = {"root": bones["root"]}
        while len(ordered) < len(bones):
            ready = [n for n in bones if n not in ordered and parent[n] in ordered]
            if not ready:
                raise ValueError("its hierarchy does not reach every bone")
            ordered |= {n: _Bone(parent[n], bones[n].step_m, bones[n].axes, bones[n].dof) for n in ready}
        return ordered
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise DamagedFile(path, f"not an ASF skeleton ({error})") from error


def _read_amc_values(path: str | Path, bones: Mapping[str, _Bone]) -> dict[str, Float64]:
    """Per moving bone its degrees of freedom, (N, len(dof)): degrees, and file units for the root's translation."""
    try:
        lines = [line for line in Path(path).read_text().splitlines() if line and line[0] not in "#:"]
        first_end = next(i for i, line in enumerate(lines[1:], 1) if line.strip().isdigit())
        values = {}
        for i in range(1, first_end):
            name = lines[i].split()[0]
            rows = [line.split() for line in lines[i::first_end]]
            if any(row[0] != name for row in rows):
                raise ValueError(f"bone {name} is not in every frame")
            values[name] = np.array([row[1:] for row in rows], dtype=np.float64)
            if values[name].shape[1] != len(bones[name].dof):
                raise ValueError(f"bone {name} has {values[name].shape[1]} values, the skeleton {len(bones[name].dof)}")
        return values
    except (OSError, ValueError, KeyError, IndexError, StopIteration) as error:
        raise DamagedFile(path, f"not an AMC motion of this skeleton ({error})") from error


def _cmu_align(bones: Mapping[str, _Bone]) -> dict[str, Float64]:
    """Per joint the constant that turns the reference pose into the file's zero pose."""
    align = {name: np.eye(3) for name in JOINTS}
    for side, sign in (("left", 1.0), ("right", -1.0)):
        leg = bones[f"{side[0]}femur"].step_m
        legs = _turn("z", float(np.degrees(np.arctan2(leg[0], -leg[1]))))
        lift = _turn("z", 90.0 * sign)
        # Bending turns about the radius's own x; it must be the body's -x (hand forward) when the arm hangs.
        hinge = lift.T @ bones[f"{side[0]}radius"].axes[:, 0]
        twist = _turn("y", float(np.degrees(np.arctan2(-hinge[2], hinge[0]))) + 180.0)
        align |= {f"{side}_{j}": legs for j in ("hip", "knee", "ankle")}
        align |= {f"{side}_{j}": lift @ twist for j in ("shoulder", "elbow", "wrist")}
    return align


def read_amc(asf_path: str | Path, amc_path: str | Path) -> Motion:
    """One CMU trial at 120 Hz. The skeleton lies in the .asf file, the motion in the .amc file. Raises DamagedFile."""
    bones = _read_asf(asf_path)
    values = _read_amc_values(amc_path, bones)
    root = values["root"]
    n = len(root)
    # CMU writes "order XYZ" for the rotation about x first, in fixed axes.
    turned = {"root": Rotation.from_euler("xyz", root[:, 3:], degrees=True).as_matrix()}
    start_m, end_m = {"root": root[:, :3] * CMU_UNIT_M}, {"root": root[:, :3] * CMU_UNIT_M}
    for name, bone in bones.items():
        if name == "root":
            continue
        angles_deg = np.zeros((n, 3))
        if name in values:
            angles_deg[:, ["xyz".index(d[1]) for d in bone.dof]] = values[name]
        bent = Rotation.from_euler("xyz", angles_deg, degrees=True).as_matrix()
        turned[name] = turned[bone.parent] @ (bone.axes @ bent @ bone.axes.T)
        start_m[name] = end_m[bone.parent]
        end_m[name] = start_m[name] + turned[name] @ bone.step_m
    align = _cmu_align(bones)
    name = Path(amc_path).stem
    return _motion(
        name,
        120.0,
        {ours: start_m[start] for ours, (start, _) in _CMU_SEGMENTS.items()},
        {ours: turned[bone] @ align[ours] for ours, (_, bone) in _CMU_SEGMENTS.items()},
        (),
        "cmu",
    )


# DeepMimic ------------------------------------------------------------------------------------------------------------

_DEEPMIMIC = {
    "chest": ("pelvis", (0.0, 0.236151, 0.0)),
    "neck": ("chest", (0.0, 0.223894, 0.0)),
    "right_hip": ("pelvis", (0.0, 0.0, 0.084887)),
    "right_knee": ("right_hip", (0.0, -0.421546, 0.0)),
    "right_ankle": ("right_knee", (0.0, -0.40987, 0.0)),
    "right_shoulder": ("chest", (-0.02405, 0.2435, 0.18311)),
    "right_elbow": ("right_shoulder", (0.0, -0.274788, 0.0)),
    "left_hip": ("pelvis", (0.0, 0.0, -0.084887)),
    "left_knee": ("left_hip", (0.0, -0.421546, 0.0)),
    "left_ankle": ("left_knee", (0.0, -0.40987, 0.0)),
    "left_shoulder": ("chest", (-0.02405, 0.2435, -0.18311)),
    "left_elbow": ("left_shoulder", (0.0, -0.274788, 0.0)),
    "right_wrist": ("right_elbow", (0.0, -0.258947, 0.0)),
    "left_wrist": ("left_elbow", (0.0, -0.258947, 0.0)),
    "head": ("neck", (0.0, 0.09, 0.0)),
}
"""Joint → (parent, attachment in m, facing +x with the right hand towards +z), as in its humanoid3d character; the
first twelve in the order of a frame. It has no joints for head and hands: those move with neck and forearm."""
_DEEPMIMIC_WIDTH = 44


def read_deepmimic(path: str | Path, *, loops: int = 1) -> Motion:
    """One DeepMimic clip (30 or 60 Hz), labelled by its name.

    loops: how often a clip marked "Loop": "wrap" is played, each time from where and in the direction in which it
    ended; what its end lacks to its beginning is blended in over the clip, so that no seam jolts. A file holds frames
    of [seconds, root position 3, root quaternion wxyz, then joints: a quaternion wxyz, or for knees and elbows one
    angle about the axis from left to right]. Raises DamagedFile, and UsageError for loops of a clip that does not wrap.
    """
    try:
        content: dict[str, Any] = json.loads(Path(path).read_text())
        frames = np.array(content["Frames"], dtype=np.float64)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DamagedFile(path, f"not a DeepMimic motion ({error})") from error
    if frames.ndim != 2 or frames.shape[1] != _DEEPMIMIC_WIDTH or len(frames) < 2:
        raise DamagedFile(path, f"its frames must be rows of {_DEEPMIMIC_WIDTH} numbers, not {frames.shape}")
    if loops < 1 or (loops > 1 and content.get("Loop") != "wrap"):
        raise UsageError(f"loops is {loops}: it must be positive, and 1 for {path} if that does not wrap")
    rate_hz = 1.0 / float(np.median(frames[:-1, 0]))
    root_m, local = _evenly(frames[:, 1:4], _deepmimic_rotations(frames), frames[:-1, 0], rate_hz)
    if loops > 1:
        root_m, local = _loop(root_m, local, loops)

    turned, at_m = {"pelvis": local["pelvis"]}, {"pelvis": root_m}
    for name, (parent, step_m) in _DEEPMIMIC.items():
        turned[name] = turned[parent] * local[name] if name in local else turned[parent]
        at_m[name] = at_m[parent] + turned[parent].apply(step_m)
    face = _turn("y", -90.0)
    name = Path(path).stem.split("humanoid3d_")[-1]
    return _motion(
        name,
        rate_hz,
        {j: at_m[j] @ face.T for j in JOINTS},
        {j: face @ turned[j].as_matrix() @ face.T for j in JOINTS},
        (name.rstrip("0123456789"),),
        "deepmimic",
    )


def _deepmimic_rotations(frames: Float64) -> dict[str, Rotation]:
    local, column = {"pelvis": Rotation.from_quat(frames[:, 4:8], scalar_first=True)}, 8
    for name in list(_DEEPMIMIC)[:12]:
        if name.endswith(("knee", "elbow")):
            local[name] = Rotation.from_rotvec(frames[:, column, None] * [0.0, 0.0, 1.0])
            column += 1
        else:
            local[name] = Rotation.from_quat(frames[:, column : column + 4], scalar_first=True)
            column += 4
    return local


def _evenly(
    root_m: Float64, local: Mapping[str, Rotation], step_s: Float64, rate_hz: float
) -> tuple[Float64, dict[str, Rotation]]:
    """Frames at an even rate; a few clips hold one longer step."""
    frame_s = np.concatenate([[0.0], np.cumsum(step_s)])
    time_s = np.minimum(np.arange(int(frame_s[-1] * rate_hz + 1e-3) + 1) / rate_hz, frame_s[-1])
    even_m = np.stack([np.interp(time_s, frame_s, axis_m) for axis_m in root_m.T], axis=1)
    return even_m, {name: Slerp(frame_s, rotation)(time_s) for name, rotation in local.items()}


def _loop(root_m: Float64, local: Mapping[str, Rotation], loops: int) -> tuple[Float64, dict[str, Rotation]]:
    """Play a clip `loops` times. The last frame of one round is the first of the next, seen from the same place."""
    n = len(root_m)
    ramp = np.linspace(0.0, 1.0, n)
    ramp = ramp * ramp * (3 - 2 * ramp)
    _, y, _, w = (local["pelvis"][n - 1] * local["pelvis"][0].inv()).as_quat()
    yaw = Rotation.from_rotvec([0.0, 2 * np.arctan2(y, w), 0.0])
    closed = {}
    for name, rotation in local.items():
        first = yaw * rotation[0] if name == "pelvis" else rotation[0]
        lack = Slerp([0.0, 1.0], Rotation.concatenate([Rotation.identity(), first * rotation[n - 1].inv()]))
        closed[name] = lack(ramp) * rotation
    rise = np.array([0.0, 1.0, 0.0]) * (root_m[0, 1] - root_m[-1, 1])
    root_m = root_m + ramp[:, None] * rise
    moved_m, turn, at_m = [root_m[:1]], Rotation.identity(), np.zeros(3)
    pelvis = [closed["pelvis"][:1]]
    for _ in range(loops):
        moved_m.append(at_m + turn.apply(root_m[1:] - root_m[0]) + root_m[0])
        pelvis.append(turn * closed["pelvis"][1:])
        at_m, turn = moved_m[-1][-1] - root_m[0], turn * yaw
    rounds = np.concatenate([[0], np.tile(np.arange(1, n), loops)])
    return np.concatenate(moved_m), {
        name: Rotation.concatenate(pelvis) if name == "pelvis" else rotation[rounds]
        for name, rotation in closed.items()
    }
