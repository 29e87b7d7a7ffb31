"""RKD (Park et al., CVPR 2019): distances and angles between samples, of nets of any two widths."""

from __future__ import annotations

from pathlib import Path

from systems.evidence import Evidence


def test_distances_and_angles_teach(evidence: Evidence, tmp_path: Path) -> None:
    evidence.holds(tmp_path, "rkd", "distance", "angle")
