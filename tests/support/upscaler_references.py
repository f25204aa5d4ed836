"""What the published code computes with the small transformers of `tiny_upscalers`.

    pip install spandrel==0.4.2 einops torchvision
    python -m tests.support.upscaler_references

writes it to `tests/upscalers/references.npz`. spandrel finds out the sizes by itself, from the weights and the tensors
that its networks compute, and these have to be the ones that `computed_tensors` lists.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage import data

from tests.support import tiny_upscalers as tiny

PATH = Path(__file__).parents[1] / "upscalers" / "references.npz"
IMAGE = np.divide(data.astronaut()[100:106, 200:207], 255, dtype=np.float32)
"""Of no side that is a multiple of a window."""


def main() -> None:
    outputs = {variant: reference(variant) for variant in tiny.TRANSFORMERS}
    np.savez_compressed(PATH, allow_pickle=False, **outputs)
    for variant, output in outputs.items():
        print(f"{variant}: {output.shape}, {output.min():.2f} to {output.max():.2f}")


def reference(variant: str) -> NDArray[np.float32]:
    """Return the output [height, width, 3] for IMAGE."""
    import torch

    computed = tiny.computed_tensors(variant)
    weights = {**tiny.transformer(variant), **computed}
    found: Any = (
        import_module("spandrel")
        .ModelLoader()
        .load_from_state_dict({name: torch.from_numpy(tensor) for name, tensor in weights.items()})
    )
    # Those that are computed are zero in `weights`.
    fresh = type(found.model)(**found.model.hyperparameters).state_dict()
    assert {name: tensor.shape for name, tensor in fresh.items()} == {
        name: tensor.shape for name, tensor in weights.items()
    }
    state = {name: fresh[name] if name in computed else torch.from_numpy(weights[name]) for name in fresh}
    found.model.load_state_dict(state)
    with torch.inference_mode():
        output = found.model.eval()(torch.from_numpy(IMAGE.transpose(2, 0, 1)[None].copy()))
    result: NDArray[np.float32] = output[0].numpy().transpose(1, 2, 0)
    return result


if __name__ == "__main__":
    main()
