"""webuiapi, the Python client of AUTOMATIC1111's API, against a real server. It is not needed for the other tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.support import client_programs, image_host
from tests.support.installation import Installation

pytestmark = pytest.mark.clients


@pytest.fixture
def found(site: Installation, site_key: str, tmp_path: Path) -> dict[str, Any]:
    """What each call of the program found."""
    image_host.write_images(tmp_path)
    return client_programs.run("webuiapi_python.py", site.url, site_key, tmp_path)


def pixels(file: Path) -> NDArray[np.uint8]:
    with Image.open(file) as image:
        return np.asarray(image)


def test_webuiapi_reads_the_answers(found: dict[str, Any], tmp_path: Path) -> None:
    photo, hole = np.asarray(image_host.photo()), np.asarray(image_host.mask())
    files = found["inpaint"] + found["two"]
    assert len(files) == 3
    for file in files:
        painted = pixels(tmp_path / file)
        assert np.array_equal(painted[hole == 0], photo[hole == 0])
        assert np.count_nonzero((painted != photo).any(axis=2)[hole > 0]) > np.count_nonzero(hole) / 2
    (file,) = found["inverted"]
    painted = pixels(tmp_path / file)
    assert np.array_equal(painted[hole > 0], photo[hole > 0])
    (file,) = found["upscale"]
    assert pixels(tmp_path / file).shape == (512, 768, 3)
    text, seed = found["parameters"]
    assert (text.splitlines()[0], seed) == ("a lawn", "5")
    assert found["caption"]
    assert (found["options"], found["progress"], found["interrupt"]) == ("2", 0, {})
    assert "Euler a" in found["samplers"]
    assert sorted(found["schedulers"]) == ["automatic", "karras", "uniform"]
    assert found["upscalers"] == ["None", "lanczos"]
    assert (found["models"], found["loras"], found["controlnets"]) == ([], [], [])
    assert found["embeddings"] == {"loaded": {}, "skipped": {}}
    assert "none" in found["modules"]
    assert found["memory"]
    assert (found["text"]["status"], found["sampler"]["status"]) == (503, 404)
    assert found["sampler"]["body"]["detail"] == "Sampler not found"
