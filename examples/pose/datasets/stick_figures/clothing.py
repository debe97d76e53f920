"""Colours of a figure: skin, hair, clothes, and the marks that tell front from back."""

from __future__ import annotations

import colorsys
import dataclasses
from collections.abc import Sequence

import numpy as np

from examples.pose.datasets.stick_figures.body import Part
from examples.pose.datasets.stick_figures.canvas import Paint

_SKIN = np.array([[0.98, 0.83, 0.72], [0.9, 0.7, 0.55], [0.72, 0.5, 0.35], [0.42, 0.28, 0.2]])
_HAIR = np.array([[0.1, 0.08, 0.07], [0.3, 0.19, 0.1], [0.75, 0.58, 0.3], [0.55, 0.53, 0.5]])
_DARK = np.array([[0.08], [0.07], [0.07]], np.float32)


def random_color(rng: np.random.Generator) -> np.ndarray:
    """Draws a colour that cloth may have, float32 `[3, 1]` in 0..1."""
    saturation = rng.uniform(0.0, 0.25) if rng.random() < 0.35 else rng.uniform(0.35, 0.9)
    return _column(colorsys.hsv_to_rgb(rng.random(), saturation, rng.uniform(0.15, 0.98)))


def random_skin(rng: np.random.Generator) -> np.ndarray:
    """Draws a skin colour, float32 `[3, 1]` in 0..1."""
    return _column(rng.dirichlet(np.full(len(_SKIN), 0.4)) @ _SKIN + rng.normal(0, 0.02))


def _column(color: Sequence[float]) -> np.ndarray:
    return np.clip(color, 0, 1).astype(np.float32)[:, np.newaxis]


def plain(color: np.ndarray) -> Paint:
    """A paint of one colour."""
    return lambda along, normals: color


@dataclasses.dataclass(frozen=True)
class Outfit:
    """The clothes of a figure. Colours are float32 `[3, 1]` in 0..1.

    The front of a figure has a face, a stripe of colour `mark` on the shirt and pads of colour
    `mark` on the knees; only the front tells left from right. Both sides are dressed alike, so that
    a mirrored figure with left and right swapped is a valid figure too.

    Attributes:
        shirt_pattern: Colour of the stripes of the shirt and of the bands on limbs.
        banded: Names of the limb parts that have bands.
        stripes: Stripes along each part of the torso; 0 for a plain shirt.
    """

    skin: np.ndarray
    hair: np.ndarray
    shirt: np.ndarray
    shirt_pattern: np.ndarray
    trousers: np.ndarray
    shoes: np.ndarray
    mark: np.ndarray
    long_sleeves: bool
    long_trousers: bool
    banded: frozenset[str]
    stripes: float

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Outfit:
        """Draws an outfit."""
        shirt, trousers = random_color(rng), random_color(rng)
        # The mark contrasts with the clothes: light on dark, dark on light.
        bright = 0.5 * shirt.mean() + 0.5 * trousers.mean() > 0.5
        mark = random_color(rng)
        mark = mark * 0.35 if bright else 0.35 * mark + 0.65
        return cls(
            skin=random_skin(rng),
            hair=_column(_HAIR[rng.integers(len(_HAIR))] + rng.normal(0, 0.05, 3)),
            shirt=shirt,
            shirt_pattern=random_color(rng),
            trousers=trousers,
            shoes=random_color(rng) * np.float32(rng.uniform(0.3, 1.0)),
            mark=mark,
            long_sleeves=bool(rng.random() < 0.45),
            long_trousers=bool(rng.random() < 0.55),
            banded=frozenset(
                part
                for parts in (("upper_arm", "forearm"), ("thigh", "shin"))
                if rng.random() < 0.3
                for part in parts
            ),
            stripes=float(rng.choice([0.0, 3.0, 5.0], p=[0.55, 0.25, 0.2])),
        )

    def paint(self, part: Part) -> Paint:
        """Returns the paint of one part of the body."""
        if part.name == "head":
            return self._head(part.frame)
        if part.name in ("chest", "breast"):
            return self._torso(part)
        cloth = {
            "neck": self.skin,
            "hand": self.skin,
            "collar": self.shirt,
            "upper_arm": self.shirt,
            "forearm": self.shirt if self.long_sleeves else self.skin,
            "thigh": self.trousers,
            "shin": self.trousers if self.long_trousers else self.skin,
            "foot": self.shoes,
        }[part.name]
        if part.name in ("upper_arm", "forearm", "thigh", "shin"):
            return self._limb(part, cloth)
        return plain(cloth)

    def _limb(self, part: Part, cloth: np.ndarray) -> Paint:
        front = part.frame[:, 2].astype(np.float32)
        knee = {"thigh": 1.0, "shin": 0.0}.get(part.name)

        def paint(along: np.ndarray, normals: np.ndarray) -> np.ndarray:
            color = cloth
            if part.name in self.banded:
                band = (abs(along - 0.3) < 0.11) | (abs(along - 0.7) < 0.11)
                color = np.where(band, self.shirt_pattern, color)
            if knee is not None:
                pad = (abs(along - knee) < 0.28) & (front @ normals > 0.3)
                color = np.where(pad, self.mark, color)
            return color

        return paint

    def _torso(self, part: Part) -> Paint:
        front = part.frame[:, 2].astype(np.float32)

        def paint(along: np.ndarray, normals: np.ndarray) -> np.ndarray:
            striped = along * self.stripes % 1 > 0.5
            color = np.where(striped, self.shirt_pattern, self.shirt)
            if part.name == "breast":
                color = np.where(front @ normals > 0.8, self.mark, color)
            return color

        return paint

    def _head(self, frame: np.ndarray) -> Paint:
        to_local = frame.T.astype(np.float32)

        def paint(along: np.ndarray, normals: np.ndarray) -> np.ndarray:
            left, up, forward = to_local @ normals
            up = up + 0.9 * (along - 0.5)
            face = (forward > 0.1 + 0.5 * np.maximum(up, 0)) & (up < 0.75)
            eyes = face & (abs(abs(left) - 0.38) < 0.16) & (abs(up - 0.15) < 0.14)
            mouth = face & (abs(left) < 0.3) & (abs(up + 0.5) < 0.09)
            color = np.where(face, self.skin, self.hair)
            return np.where(eyes | mouth, _DARK, color)

        return paint
