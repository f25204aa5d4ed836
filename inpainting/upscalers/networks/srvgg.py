"""SRVGGNetCompact (github.com/xinntao/Real-ESRGAN, realesrgan/archs/srvgg_arch.py): all layers at the image's size."""

from __future__ import annotations

from torch import Tensor, nn

from inpainting.families.srvgg import COLOURS, SRVGGSizes
from inpainting.upscalers.networks.torch_networks import TorchFamily, check_stop


class SRVGGNetwork(nn.Module):  # type: ignore[misc]  # torch declares no type
    def __init__(self, sizes: SRVGGSizes) -> None:
        super().__init__()
        self.scale = sizes.scale
        layers: list[nn.Module] = []
        for layer in range(sizes.layers):
            layers += [
                nn.Conv2d(sizes.features if layer else COLOURS, sizes.features, 3, padding=1),
                nn.PReLU(sizes.features),
            ]
        self.body = nn.Sequential(*layers, nn.Conv2d(sizes.features, COLOURS * sizes.scale**2, 3, padding=1))

    def forward(self, image: Tensor) -> Tensor:  # [1, 3, h, w] -> [1, 3, scale * h, scale * w]
        x = image
        for layer in self.body:
            check_stop()
            x = layer(x)
        repeated = nn.functional.interpolate(image, scale_factor=self.scale, mode="nearest")
        return nn.functional.pixel_shuffle(x, self.scale).add_(repeated)


SRVGG_UPSCALER = TorchFamily(SRVGGNetwork)
