"""A made-up abdomen: the HU value and the organ at any point of a body.

Body coordinates are RAS+ in mm with the origin in the middle of the abdomen; the size is that of a
one-year-old. Shapes are known by their depth: about how many mm a point lies inside (outside is
negative), so that the union of two is the maximum and their difference is `minimum(a, -b)`.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Field: TypeAlias = NDArray[np.float32]  # one number per point
Points: TypeAlias = NDArray[np.float32]  # (3, ...): x, y, z per point
Triple: TypeAlias = tuple[float, float, float]

LIVER, SPLEEN, KIDNEYS = 1, 2, 3
CLASS_NAMES = {LIVER: "liver", SPLEEN: "spleen", KIDNEYS: "kidneys"}

AIR_HU, LUNG_HU, FAT_HU, WATER_HU, MUSCLE_HU = -1000.0, -820.0, -95.0, 10.0, 55.0
LIVER_HU, SPLEEN_HU, CORTEX_HU, MEDULLA_HU, VESSEL_HU = 108.0, 124.0, 180.0, 130.0, 155.0
MARROW_HU, DISC_HU, BONE_HU, TABLE_HU = 230.0, 85.0, 480.0, -350.0

_EDGE_MM = 1.5
_WALL_MM = 6.0


def draw_abdomen(points: Points, rng: np.random.Generator, *, spleen: bool = True) -> tuple[Field, NDArray[np.uint8]]:
    """The HU and the label (a key of `CLASS_NAMES` or 0) at each of `points`, shape (3, ...), RAS+ mm.

    Every body that `rng` draws differs in size, in the place and shape of its organs and in their HU.
    Stomach and bowel have the spleen's HU and no label. Without `spleen` the organ is missing.
    """
    return _Abdomen(points, rng).draw(spleen=spleen)


class _Abdomen:
    """One body, painted from the outside to the inside; what comes later covers what came before."""

    def __init__(self, points: Points, rng: np.random.Generator) -> None:
        self.rng = rng
        self.table = points
        size = rng.uniform(0.93, 1.07, 3).astype(np.float32).reshape(3, *[1] * (points.ndim - 1))
        bend = np.stack([self.texture(points, 90) for _ in range(3)])
        self.points = points / size + np.float32(2.5) * bend
        self.hu = np.full(points.shape[1:], AIR_HU, np.float32)
        self.label = np.zeros(points.shape[1:], np.uint8)

    def draw(self, *, spleen: bool) -> tuple[Field, NDArray[np.uint8]]:
        self._trunk()
        self._skeleton()
        self._chest()
        self._vessels()
        self._gut()
        self._liver()
        if spleen:
            self._spleen()
        self._kidneys()
        return self.hu, self.label

    def paint(self, depth: Field, hu: float | Field, *, label: int = 0) -> None:
        """Cover what lies inside a shape; its edge is soft over `_EDGE_MM`."""
        cover = np.clip(depth / np.float32(_EDGE_MM) + np.float32(0.5), 0, 1)
        self.hu += cover * (np.asarray(hu, np.float32) - self.hu)
        self.label[depth > 0] = label

    def ellipsoid(self, centre: Triple, radii: Triple, *, turn_deg: float = 0, vary: float = 1) -> Field:
        """Depth in an ellipsoid turned about the z axis; `vary` scales what differs from body to body."""
        x, y, z = self.points - self._near(centre, 2.5 * vary)
        turn = np.deg2rad(turn_deg + vary * self.rng.normal(0, 5))
        cos, sin = np.float32(np.cos(turn)), np.float32(np.sin(turn))
        a, b, c = np.asarray(radii, np.float32) * self.rng.uniform(1 - 0.1 * vary, 1 + 0.1 * vary, 3).astype(np.float32)
        radius = np.sqrt(((cos * x + sin * y) / a) ** 2 + ((cos * y - sin * x) / b) ** 2 + (z / c) ** 2)
        depth: Field = (1 - radius) * np.float32(min(radii))
        return depth

    def tube(self, x: float, y: float, radius: float) -> Field:
        """Depth in a tube along z."""
        near = self._near((x, y, 0), 1.5)
        depth: Field = np.float32(radius) - np.hypot(self.points[0] - near[0], self.points[1] - near[1])
        return depth

    def texture(self, points: Points, wavelength_mm: float, *, waves: int = 5) -> Field:
        """A smooth random field of mean 0 and deviation 1."""
        field = np.zeros(points.shape[1:], np.float32)
        for _ in range(waves):
            direction = self.rng.normal(size=3)
            direction *= 2 * np.pi / wavelength_mm / np.linalg.norm(direction)
            phase = np.tensordot(direction.astype(np.float32), points, axes=1)
            field += np.sin(phase + np.float32(self.rng.uniform(0, 2 * np.pi)))
        field *= np.float32(np.sqrt(2 / waves))
        return field

    def _near(self, centre: Triple, deviation_mm: float) -> Field:
        drawn = np.asarray(centre) + self.rng.normal(0, deviation_mm, 3)
        return drawn.astype(np.float32).reshape(3, *[1] * (self.points.ndim - 1))

    def _trunk(self) -> None:
        # The table is flat and knows nothing of the body's bends.
        self.paint(2.5 - np.abs(self.table[1] + 69), TABLE_HU)
        x, y, _ = np.abs(self.points)
        self.skin = (1 - ((x / 82) ** 2.4 + (y / 60) ** 2.4) ** np.float32(1 / 2.4)) * 60
        rim = np.float32(self.rng.uniform(6, 11))
        self.wall = self.skin - rim
        self.cavity = self.wall - np.float32(_WALL_MM)
        self.paint(self.skin, FAT_HU)
        self.paint(self.wall, MUSCLE_HU)
        self.paint(self.cavity, FAT_HU + 6 * self.texture(self.points, 25))

    def _skeleton(self) -> None:
        x, y, z = self.points
        for side in (-1, 1):
            self.paint(np.minimum(self.tube(side * 21, -31, 9), 12 - z), MUSCLE_HU)
        slope = z + np.float32(0.4) * y + np.float32(self.rng.uniform(0, 20))
        between = np.abs(slope % 20 - 10) - 7
        self.paint(np.minimum.reduce([2.5 - np.abs(self.wall - 3), between, z + 18, 30 - y]), BONE_HU)
        body = self.tube(0, -32, 13)
        gap = np.abs((z + np.float32(self.rng.uniform(0, 22))) % 22 - 11) - 2.5
        self.paint(np.maximum(body, self.tube(0, -44, 10)), DISC_HU)
        self.paint(np.minimum(body, gap), BONE_HU)
        self.paint(np.minimum(body, gap) - 2, MARROW_HU)
        self.paint(np.minimum(3 - np.abs(x), np.minimum(-44 - y, np.minimum(y + 57, gap))), BONE_HU)
        self.paint(self.tube(0, -45, 5.5), WATER_HU + 25)

    def _chest(self) -> None:
        for side in (-1, 1):
            lung = np.minimum(self.ellipsoid((side * 36, -6, 62), (36, 44, 56)), self.cavity)
            dome = self.ellipsoid((side * 36, 2, -22), (42, 50, 62))
            self.paint(np.minimum(lung, -dome), LUNG_HU + 25 * self.texture(self.points, 12))
        self.paint(self.ellipsoid((-12, 14, 72), (32, 28, 34)), VESSEL_HU - 20)

    def _vessels(self) -> None:
        self.paint(self.tube(-5, -13, 6), VESSEL_HU)
        self.paint(self.tube(10, -12, 6.5), VESSEL_HU - 15)

    def _gut(self) -> None:
        """Stomach and bowel: the spleen's HU, lumpier, with gas that has risen to the front."""
        stomach = np.maximum(
            self.ellipsoid((-32, 16, 16), (27, 21, 24), turn_deg=20, vary=1.5),
            self.ellipsoid((-10, 28, -2), (24, 13, 13), turn_deg=-10, vary=1.5),
        )
        loops = [
            self.ellipsoid((x, y, z), (13, 12, 15), turn_deg=45, vary=2)
            for x, y, z in self.rng.uniform((-52, -5, -62), (52, 32, -14), (8, 3))
        ]
        for hollow in (stomach, *loops):
            inside = np.minimum(hollow, self.cavity - 1)
            content = SPLEEN_HU + self.rng.normal(0, 6) + 9 * self.texture(self.points, 10)
            self.paint(inside + 1.5, FAT_HU)
            self.paint(inside, content)
            level = np.float32(self.rng.uniform(15, 45))
            self.paint(np.minimum(inside - 2, self.points[1] - level), AIR_HU + 100)
        self.paint(self.ellipsoid((27, 24, -16), (8, 12, 11)), WATER_HU)

    def _liver(self) -> None:
        right = self.ellipsoid((36, 0, 8), (35, 42, 42))
        left = self.ellipsoid((4, 24, 18), (36, 19, 21), turn_deg=-12)
        hollow = self.ellipsoid((6, -14, -32), (36, 30, 34))
        liver = np.minimum.reduce([np.maximum(right, left), self.cavity, -hollow])
        value = LIVER_HU + self.rng.normal(0, 7) + 4 * self.texture(self.points, 30)
        self.paint(liver + 1.5, FAT_HU)
        self.paint(liver, value, label=LIVER)
        vessels = np.abs(self.texture(self.points, 45)) + np.abs(self.texture(self.points, 45))
        self.paint(np.minimum(liver - 3, 12 * (np.float32(0.25) - vessels)), VESSEL_HU, label=LIVER)
        lesion = self.ellipsoid((42, 4, 10), (7, 7, 7), vary=3)
        self.paint(np.minimum(lesion, liver - 2), WATER_HU + 35, label=LIVER)

    def _spleen(self) -> None:
        whole = self.ellipsoid((-50, -20, 16), (17, 27, 28), turn_deg=25)
        hilum = self.ellipsoid((-33, -8, 16), (14, 18, 20), turn_deg=25)
        spleen = np.minimum.reduce([whole, self.cavity, -hilum])
        self.paint(spleen + 1.5, FAT_HU)
        self.paint(spleen, SPLEEN_HU + self.rng.normal(0, 6), label=SPLEEN)

    def _kidneys(self) -> None:
        for side, z in ((1, -23), (-1, -12)):
            whole = self.ellipsoid((side * 36, -27, z), (14, 16, 27), turn_deg=side * 25)
            pelvis = self.ellipsoid((side * 22, -24, z), (9, 7, 9), vary=0.5)
            kidney = np.minimum.reduce([whole, self.cavity, -pelvis])
            self.paint(whole + 1.5, FAT_HU)
            self.paint(kidney, CORTEX_HU + self.rng.normal(0, 10), label=KIDNEYS)
            self.paint(kidney - 4.5, MEDULLA_HU, label=KIDNEYS)
