"""The anatomy of the phantom: an adult trunk with lungs, drawn from signed distances, slice by slice.

Coordinates are the patient's in mm: x to the left, y to the back, z to the head; z = 0 is the middle of the lungs.
Sizes are those of an adult at chest CT with the arms up; HU values are usual ones for a scan without contrast agent.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, lru_cache

import numpy as np
from scipy.interpolate import CubicSpline, PchipInterpolator
from scipy.ndimage import gaussian_filter

from quietct.ct.shapes import (
    FloatArray,
    bent_tube,
    coverage,
    ellipse,
    ellipsoid,
    paint,
    smooth_curve,
    smooth_union,
)

AIR, FAT, MUSCLE, BLOOD, SKIN = -1000.0, -105.0, 52.0, 42.0, 25.0
CORTEX, MARROW, CARTILAGE, DISC = 620.0, 165.0, 105.0, 80.0
TEXTURE_PLANES_MM = 1.5
ANGLES = 2048

# Radii (mm) of outlines at angles from the back (0 degrees) over the side (90) to the front (180).
OUTLINE_DEGREES = [0, 12, 30, 60, 90, 120, 150, 168, 180]
BODY_RADII = [116, 121, 133, 152, 162, 151, 127, 110, 105]
CAVITY_RADII = [96, 98, 104, 119, 130, 121, 101, 88, 83]
MUSCLE_RADII = [110, 115, 125, 143, 146, 139, 117, 97, 92]
# How far a rib has come down (mm) at these angles; its cartilage rises again towards the sternum.
RIB_DEGREES = [0, 25, 60, 100, 130, 150, 172, 180]
RIB_DROP = [0, 8, 34, 66, 84, 80, 58, 52]
RIB_SPACING_MM, VERTEBRA_MM = 25.0, 24.0

# Tubes of the mediastinum: x, y, z, radius in mm.
VESSELS: dict[str, list[tuple[float, ...]]] = {
    "aorta": [(6, -14, -22, 14), (-12, -28, 12, 15.5), (-14, -29, 32, 15), (-6, -16, 50, 13.5), (10, 8, 54, 13),
              (24, 34, 42, 12.5), (26, 44, 18, 12), (25, 47, -30, 11.5), (14, 44, -90, 11), (6, 40, -150, 10)],
    "superior_vena_cava": [(-21, -14, 95, 6), (-31, -16, 50, 9), (-33, -15, 10, 9.5), (-31, -14, -12, 11)],
    "brachiocephalic_vein": [(-29, -22, 66, 7), (0, -36, 68, 6.5), (30, -28, 84, 6)],
    "pulmonary_trunk": [(18, -44, -12, 14), (19, -34, 8, 14), (17, -18, 20, 13)],
    "left_pulmonary_artery": [(17, -18, 20, 12), (34, 2, 25, 11), (50, 16, 17, 8.5), (58, 24, 2, 6)],
    "right_pulmonary_artery": [(14, -14, 18, 11), (-12, -2, 14, 10.5), (-38, 4, 10, 9), (-52, 10, 0, 6.5)],
    "innominate_artery": [(-7, -12, 50, 6), (-14, -6, 75, 5.5), (-22, 0, 110, 5)],
    "carotid_artery": [(6, 0, 54, 4.5), (13, -2, 80, 4), (16, 4, 125, 4)],
    "subclavian_artery": [(15, 16, 54, 5), (24, 14, 80, 5), (34, 16, 115, 5)],
    "azygos_vein": [(-9, 44, -120, 4), (-9, 45, 20, 4.5), (-13, 36, 34, 4.5), (-29, 0, 36, 4.5), (-31, -12, 33, 5)],
    "left_lower_vein": [(20, 18, -16, 7), (46, 24, -20, 6.5), (58, 30, -24, 5)],
    "right_lower_vein": [(-20, 18, -16, 7), (-44, 24, -20, 6.5), (-56, 30, -24, 5)],
    "left_upper_vein": [(22, 8, -6, 7), (44, -6, 2, 6.5), (56, -12, 8, 5)],
    "right_upper_vein": [(-22, 8, -6, 7), (-44, -8, -2, 6.5), (-56, -14, 6, 5)],
    "inferior_vena_cava": [(-26, 4, -62, 12), (-26, 12, -90, 12), (-22, 22, -150, 12)],
}  # fmt: skip
AIRWAYS: dict[str, list[tuple[float, ...]]] = {
    "trachea": [(0, 2, 140, 8.5), (0, 6, 80, 8.5), (-2, 13, 33, 8.5)],
    "right_main_bronchus": [(-2, 13, 33, 7.5), (-20, 18, 18, 7), (-38, 20, 4, 5.5), (-44, 22, -18, 4)],
    "left_main_bronchus": [(-2, 13, 33, 6.5), (20, 20, 16, 6), (40, 24, 2, 5.5), (47, 28, -18, 4)],
}
HEART = (  # centre, half axes, degrees: left ventricle, right ventricle, right atrium, left atrium
    ((30, -22, -52), (46, 33, 42), 38),
    ((6, -42, -48), (40, 27, 38), 12),
    ((-28, -20, -40), (25, 32, 36), 0),
    ((2, 12, -18), (33, 19, 22), 0),
)
DOMES = (((-62, 4, -165), (76, 84, 88)), ((64, 4, -172), (70, 80, 84)))  # liver; stomach and spleen
LUNG_FLOOR_MM, LUNG_TOP_MM = -128.0, 128.0


class Thorax:
    """One person's chest, without lung vessels and nodules.

    Parameters
    ----------
    layout : int
        Seed of the small differences between people: size, proportions, heart, phase of ribs and vertebrae.
    rows : int
        Rows and columns of the images.
    pixel_mm : float
        Their pixel size; the image is centred at x = y = 0.
    """

    def __init__(self, layout: int, rows: int, pixel_mm: float) -> None:
        rng = np.random.default_rng([layout, 1])
        self.layout, self.rows, self.pixel_mm = layout, rows, pixel_mm
        centred = (np.arange(rows) - (rows - 1) / 2) * pixel_mm
        self.x = centred.astype(np.float32)[None, :]
        self.y = centred.astype(np.float32)[:, None]
        self.body_scale = float(rng.uniform(0.97, 1.02))
        self.chest_scale = float(rng.uniform(0.96, 1.0)) * self.body_scale
        self.heart_scale = float(rng.uniform(0.92, 1.06))
        self.shift = rng.uniform(-3, 3, 3)  # of the whole mediastinum
        self.rib_phase = rng.uniform(0, RIB_SPACING_MM, 2)
        self.rib_phase[1] = self.rib_phase[0] + rng.uniform(-3, 3)  # left and right hardly ever lie level
        self.spine_phase = float(rng.uniform(0, VERTEBRA_MM))
        self.fat_wave = rng.uniform(0, 2 * np.pi, 3)
        around = np.array([(-14, 2, 40), (12, -8, 38), (-20, 0, 60), (4, 26, 8), (20, 8, 36), (-6, -50, 30)])
        places = around + self.shift + rng.uniform(-4, 4, around.shape)
        self.lymph_nodes = np.hstack([places, rng.uniform(2.0, 4.0, (len(around), 3))])
        self._mediastinum = self._box(-95, 105, -100, 105)
        self.vessels = {name: self._moved(nodes) for name, nodes in VESSELS.items()}
        self.airways = {name: self._moved(nodes) for name, nodes in AIRWAYS.items()}

    def _moved(self, nodes: Sequence[tuple[float, ...]]) -> FloatArray:
        curve = smooth_curve(nodes)
        curve[:, :3] += self.shift
        return curve

    @cached_property
    def _polar(self) -> tuple[FloatArray, FloatArray]:
        radius = np.hypot(self.x, self.y)
        angle = np.arctan2(np.abs(self.x), self.y)
        return radius, np.rint(angle * ((ANGLES - 1) / np.pi)).astype(np.intp)

    @cached_property
    def _outlines(self) -> dict[str, tuple[FloatArray, FloatArray]]:
        """Give each outline's radius in the direction of every pixel, and the cosine that makes distances of radii."""
        angle = np.linspace(0, np.pi, ANGLES)
        index = self._polar[1]
        result = {}
        scales = {"body": self.body_scale, "cavity": self.chest_scale, "muscle": self.chest_scale}
        for name, radii in (("body", BODY_RADII), ("cavity", CAVITY_RADII), ("muscle", MUSCLE_RADII)):
            spline = CubicSpline(np.radians(OUTLINE_DEGREES), radii, bc_type=((1, 0.0), (1, 0.0)))
            radius, slope = spline(angle) * scales[name], spline(angle, 1) * scales[name]
            cosine = 1 / np.sqrt(1 + (slope / radius) ** 2)
            result[name] = (radius.astype(np.float32)[index], cosine.astype(np.float32)[index])
        return result

    @cached_property
    def _rib_drop(self) -> FloatArray:
        curve = PchipInterpolator(np.radians(RIB_DEGREES), RIB_DROP)(np.linspace(0, np.pi, ANGLES))
        return curve.astype(np.float32)[self._polar[1]]

    @cached_property
    def _degrees(self) -> FloatArray:
        return (self._polar[1] * (180 / (ANGLES - 1))).astype(np.float32)

    def _distance(self, outline: str, scale: float = 1.0) -> FloatArray:
        radius, cosine = self._outlines[outline]
        return (self._polar[0] - np.float32(scale) * radius) * cosine

    def cavity_distance(self, z: float) -> FloatArray:
        """Signed distance (mm) to the inner chest wall; the chest narrows towards its top."""
        u = np.clip(z / LUNG_TOP_MM, 0, 0.999)
        return self._distance("cavity", (1 - u**2.6) ** (1 / 2.2))

    def texture(self, z: float) -> FloatArray:
        """Fine irregular structure of tissue, mean 0, standard deviation about 1, continuous from slice to slice."""
        position = z / TEXTURE_PLANES_MM
        low = int(np.floor(position))
        t = np.float32(position - low)
        planes = [_texture_plane(self.layout, k, self.rows, self.pixel_mm) for k in (low, low + 1)]
        return ((1 - t) * planes[0] + t * planes[1]) / np.sqrt((1 - t) ** 2 + t**2)

    def _box(self, x0: float, x1: float, y0: float, y1: float) -> tuple[slice, slice]:
        """Rows and columns of a rectangle in mm."""
        half, p = (self.rows - 1) / 2, self.pixel_mm
        edge = [int(np.clip(np.floor(v / p + half), 0, self.rows)) for v in (y0, y1, x0, x1)]
        return slice(edge[0], edge[1] + 1), slice(edge[2], edge[3] + 1)

    @lru_cache(maxsize=1)  # noqa: B019 - the lungs' outline and the drawing of the same slice both need it
    def _organs(self, z: float) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Signed distances (mm) to the heart, the nearest great vessel and the nearest large airway."""
        rows, columns = self._mediastinum
        x, y = self.x[:, columns], self.y[rows]
        heart = np.full((y.size, x.size), 1e3, np.float32)
        for centre, axes, degrees in HEART:
            moved = tuple(float(c + s) for c, s in zip(centre, self.shift, strict=True))
            part = ellipsoid(x, y, z, moved, tuple(a * self.heart_scale for a in axes), degrees)  # type: ignore[arg-type]
            heart = smooth_union(heart, part, 9)
        vessels = np.full_like(heart, 1e3)
        for nodes in self.vessels.values():
            vessels = np.minimum(vessels, bent_tube(x, y, z, nodes))
        airways = np.full_like(heart, 1e3)
        for nodes in self.airways.values():
            airways = smooth_union(airways, bent_tube(x, y, z, nodes), 3)
        return heart, vessels, airways

    def lung_distance(self, z: float) -> FloatArray:
        """Signed distance (mm) to the lungs: the chest cavity less the mediastinum, the spine and the diaphragm.

        Returns
        -------
        ndarray of float32 (rows, rows)
            Negative inside a lung.
        """
        lungs = self.cavity_distance(z)
        rows, columns = self._mediastinum
        x, y = self.x[:, columns], self.y[rows]
        heart, vessels, airways = self._organs(z)
        sx, sy = float(self.shift[0]), float(self.shift[1])
        kept = smooth_union(ellipse(x, y, (0, 64), (25, 24)), ellipse(x, y, (2 + sx, 0 + sy), (15, 52)), 16)
        kept = smooth_union(kept, ellipse(x, y, (sx, -72), (5, 26)), 14)  # the fat where the lungs meet in front
        kept = smooth_union(kept, ellipse(x, y, (sx, 20 + sy), (26, 26)), 10)
        kept = smooth_union(kept, np.minimum(heart - 3.5, vessels - 2.0), 9)
        kept = smooth_union(kept, airways - 2.5, 6)
        lungs[rows, columns] = -smooth_union(-lungs[rows, columns], kept, 7)
        for centre, axes in DOMES:
            if z < centre[2] + axes[2] + 10:
                dome = ellipsoid(self.x, self.y, z, centre, axes)
                lungs = -smooth_union(-lungs, dome, 4)
        return np.maximum(lungs, np.float32(LUNG_FLOOR_MM - z))

    def draw(self, z: float) -> tuple[FloatArray, FloatArray]:
        """Draw the chest at height `z` with empty lungs.

        Returns
        -------
        hu : ndarray of float32 (rows, rows)
            The image in HU.
        lung : ndarray of float32 (rows, rows)
            Fraction of each pixel that is lung.
        """
        grain = self.texture(z)
        hu = np.full((self.rows, self.rows), AIR, np.float32)
        cavity = self.cavity_distance(z)
        self._draw_table(hu)
        self._draw_wall(hu, z, cavity, grain)
        lung = coverage(self.lung_distance(z), self.pixel_mm)
        # The lower lung is denser, because the patient lies on the back.
        paint(hu, lung, np.float32(-868) + np.float32(0.25) * self.y + 20 * grain)
        self._draw_fissures(hu, z, lung)
        self._draw_mediastinum(hu, z, grain)
        self._draw_abdomen(hu, z, cavity, lung, grain)
        self._draw_spine(hu, z, grain)
        return hu, lung

    def _draw_table(self, hu: FloatArray) -> None:
        rows, columns = self._box(-179, 179, 60, 179)
        x, y, view = self.x[:, columns], self.y[rows], hu[rows, columns]
        # A shallow carbon-fibre trough with a foam core, under a thin mattress. As in a scanner's image, it ends with
        # the circle of the field of view: nothing outside the circle attenuates.
        bowl = np.hypot(x, y + 280) - 280
        field = np.hypot(x, y) - (self.rows * self.pixel_mm / 2 - 4)
        inside = np.maximum(np.abs(x) - 172, field)
        for low, high, value in ((118, 128, -930.0), (128, 150, -880.0), (128, 130, -150.0), (148, 150, -150.0)):
            layer = np.maximum(np.maximum(low - bowl, bowl - high), inside)
            paint(view, coverage(layer, self.pixel_mm), value)

    def _draw_wall(self, hu: FloatArray, z: float, cavity: FloatArray, grain: FloatArray) -> None:
        """Skin, fat, muscles, scapulae, ribs and sternum."""
        p, degrees = self.pixel_mm, self._degrees
        body = self._distance("body")
        paint(hu, coverage(body, p), SKIN)
        paint(hu, coverage(body + 1.8, p), FAT + 7 * grain)
        wave = np.sin(np.radians(5 * degrees) + np.float32(self.fat_wave[0] + z / 40)) * np.float32(2)
        muscle = self._distance("muscle") + wave
        paint(hu, coverage(muscle, p), MUSCLE + 6 * grain)
        # Fat between the muscles of the chest wall: behind the ribs' layer and between the outer ones.
        for at, thick, low, high, phase in ((11.5, 1.0, 28, 158, 0), (19.0, 0.7, 105, 160, 1), (21.0, 0.6, 30, 75, 2)):
            ripple = np.sin(np.radians(4 * degrees) + np.float32(self.fat_wave[phase] + z / 30))
            plane = np.abs(cavity - (at + 1.5 * ripple)) - thick * (1 + 0.8 * ripple)
            plane = np.maximum(plane, np.maximum(low - degrees, degrees - high))
            paint(hu, coverage(np.maximum(plane, muscle + 1), p), FAT)
        if z > -35:
            lower = 68 - 26 * np.clip(-z / 35, 0, 1)
            plate = np.abs(cavity - 16 - np.float32(0.002) * (degrees - 50) ** 2) - np.float32(2.3)
            plate = np.maximum(plate, np.maximum(34 - degrees, degrees - lower))
            paint(hu, coverage(plate, p), CORTEX * 0.75)
            paint(hu, coverage(plate + 1.4, p), MARROW)
        paint(hu, coverage(cavity - 0.6, p), FAT + 7 * grain)
        self._draw_ribs(hu, z, cavity, grain)
        rows, columns = self._box(-40, 40, -120, -60)
        x, y, view = self.x[:, columns], self.y[rows], hu[rows, columns]
        if -75 < z < 80:
            front = -float(CAVITY_RADII[-1]) * self.chest_scale
            width = 17.0 + 7.0 * np.clip((z - 40) / 30, 0, 1)
            sternum = ellipse(x, y, (0, front - 6.0), (width, 6.2))
            paint(view, coverage(sternum, p), CORTEX * 0.7)
            paint(view, coverage(sternum + 1.3, p), MARROW * 0.75 + 30 * grain[rows, columns])

    def _draw_ribs(self, hu: FloatArray, z: float, cavity: FloatArray, grain: FloatArray) -> None:
        """All ribs at once: they repeat every `RIB_SPACING_MM` along z and come down along the wall."""
        phase = np.where(self.x < 0, self.rib_phase[0], self.rib_phase[1]).astype(np.float32)
        above = z + self._rib_drop + phase
        above -= np.rint(above / RIB_SPACING_MM) * np.float32(RIB_SPACING_MM)
        q = np.hypot((cavity - 5.2) / np.float32(3.9), above / np.float32(6.8))
        rib, p = (q - 1) * np.float32(3.9), self.pixel_mm
        cartilage = np.clip((self._degrees - 138) / 8, 0, 1)
        behind = np.clip((self._degrees - 13) / 2, 0, 1)  # behind, the rib ends at its vertebra
        behind *= np.clip((171 - self._degrees) / 3, 0, 1)
        paint(hu, coverage(rib, p) * behind, CORTEX + cartilage * (CARTILAGE - CORTEX))
        inner = MARROW + 35 * grain
        paint(hu, coverage(rib + 1.3, p) * behind, inner + cartilage * (CARTILAGE - inner))

    def _draw_fissures(self, hu: FloatArray, z: float, lung: FloatArray) -> None:
        """Draw the oblique fissures: two thin curved sheets, steep from upper back to lower front."""
        for side in (-1.0, 1.0):
            x, y = self.x, self.y
            sheet = (y + np.float32(0.0016) * (np.abs(x) - 70) ** 2 - 10 - 4 * side - np.float32(0.75 * z)) * 0.8
            cover = coverage(np.abs(sheet) - 0.35, self.pixel_mm) * lung * (side * x > 0)
            paint(hu, 0.22 * cover, -100.0)

    def _draw_mediastinum(self, hu: FloatArray, z: float, grain: FloatArray) -> None:
        rows, columns = self._mediastinum
        x, y, view, grain = self.x[:, columns], self.y[rows], hu[rows, columns], grain[rows, columns]
        p = self.pixel_mm
        heart, vessels, airways = self._organs(z)
        paint(view, coverage(heart - 2.6, p) - coverage(heart - 1.6, p), 10.0)  # pericardium
        paint(view, coverage(heart, p), BLOOD + 3 + 4 * grain)
        # Fat in the groove between the chambers: a bent wedge, wide at the heart's surface and 11 mm deep.
        bent = x + np.float32(0.8) * y + np.float32(0.35 * z) + 22 + 5 * np.sin(y / 9)
        groove = np.maximum(np.abs(bent) * np.float32(0.7) - (3.2 + np.float32(0.28) * heart), heart - 1.5)
        paint(view, coverage(groove, p), FAT * 0.8)
        paint(view, coverage(vessels, p), BLOOD + 4 * grain)
        for node in self.lymph_nodes:
            if abs(z - node[2]) < 8:
                paint(view, coverage(ellipsoid(x, y, z, tuple(node[:3]), tuple(node[3:])), p), 38.0)
        sx, sy = float(self.shift[0]), float(self.shift[1])
        gullet = ellipse(x, y, (3 + sx, 33 + sy + 2 * np.sin(z / 25)), (7.5, 5))
        paint(view, coverage(gullet, p), 35.0)
        paint(view, coverage(gullet + 4.2, p), -600.0)
        paint(view, coverage(airways - 1.4, p), 35.0)
        paint(view, coverage(airways, p), AIR)

    def _draw_abdomen(self, hu: FloatArray, z: float, cavity: FloatArray, lung: FloatArray, grain: FloatArray) -> None:
        for (centre, axes), value in zip(DOMES, (58.0, 48.0), strict=True):
            if z < centre[2] + axes[2]:
                inside = ellipsoid(self.x, self.y, z, centre, axes) + 1.5
                inside = np.maximum(inside, cavity + 3)
                paint(hu, coverage(inside, self.pixel_mm) * (1 - lung), value + 6 * grain)

    def _draw_spine(self, hu: FloatArray, z: float, grain: FloatArray) -> None:
        rows, columns = self._box(-60, 60, 35, 118)
        x, y, view, grain = self.x[:, columns], self.y[rows], hu[rows, columns], grain[rows, columns]
        p = self.pixel_mm
        level = (z + self.spine_phase) % VERTEBRA_MM - VERTEBRA_MM / 2  # -12 .. 12 around the middle of a vertebra
        disc = float(np.clip((abs(level) - 8.5) / 1.0, 0, 1))
        waist = 1.2 * np.cos(np.pi * level / 10)
        for side in (-1.0, 1.0):  # the long muscles of the back
            paint(view, coverage(ellipse(x, y, (side * 25, 96), (20, 12), -side * 14), p), MUSCLE + 6 * grain)
            gap = np.abs(ellipse(x, y, (side * 25, 96), (20, 12), -side * 14)) - 0.6
            paint(view, coverage(gap, p) * 0.7, FAT)
            arch = [(side * 13, 72, 0, 4.5), (side * 17, 82, 0, 4), (side * 36, 90 + 2 * level / 12, 0, 3.4)]
            lamina = [(side * 16, 84, 0, 3.2), (side * 3, 95, 0, 3.2)]
            pedicle = float(np.clip((9 - abs(level)) / 3, 0, 1))
            for tube, shown in ((arch, pedicle), (lamina, 1.0)):
                bone = bent_tube(x, y, 0, np.asarray(tube, float))
                paint(view, coverage(bone, p) * shown, CORTEX * 0.8)
                paint(view, coverage(bone + 1.6, p) * shown, MARROW + 60)
        spinous = ellipse(x, y, (0, 101 + 0.3 * level), (2.8, 9))
        paint(view, coverage(spinous, p), CORTEX * 0.75)
        paint(view, coverage(spinous + 1.4, p), MARROW + 40)
        body = smooth_union(
            ellipse(x, y, (0, 58), (17.5 - waist, 14 - waist)), ellipse(x, y, (0, 65), (14 - waist, 9)), 4
        )
        paint(view, coverage(body, p), CORTEX * (1 - disc) * 0.9 + DISC * disc)
        inner = MARROW + 32 * grain
        paint(view, coverage(body + 1.5, p), inner + disc * (DISC + 4 * grain - inner))
        canal = ellipse(x, y, (0, 81.5), (9.5, 8.5))
        paint(view, coverage(canal, p), FAT * 0.5)
        paint(view, coverage(canal + 1.3, p), 14.0)
        paint(view, coverage(ellipse(x, y, (0, 81), (5, 3.8)), p), 38.0)


@lru_cache(maxsize=6)
def _texture_plane(layout: int, plane: int, rows: int, pixel_mm: float) -> FloatArray:
    """One plane of the texture: coarse and fine irregularities of 1 to 4 mm, unit standard deviation."""
    rng = np.random.default_rng([layout, 2, plane + 10_000])
    white = rng.standard_normal((rows, rows), dtype=np.float32)
    mixed = np.zeros_like(white)
    for size_mm, weight in ((0.7, 0.6), (2.0, 0.8)):
        sigma = size_mm / pixel_mm
        unit = 2 * np.sqrt(np.pi) * sigma  # what the filter takes from the standard deviation
        mixed += np.float32(weight * unit) * gaussian_filter(white, sigma, mode="wrap", truncate=3)
    return mixed / mixed.std()
