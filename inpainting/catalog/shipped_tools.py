"""Models of the catalog that paint nothing: segmenters, captioners, preprocessors and upscalers.

It lists them from the start. Their weights are not shipped.
"""

from __future__ import annotations

from inpainting.catalog.specs import ModelSpec, Source

MB = 10**6
APACHE, MIT, NOT_STATED = "Apache-2.0", "MIT", "not stated by its publisher"
REMBG = "https://github.com/danielgatis/rembg/releases/download/v0.0.0"

SALIENT_OBJECTS = tuple(
    ModelSpec(
        slug=slug,
        label=label,
        family=family,
        source=Source.URL,
        repo=f"{REMBG}/{file}.onnx#md5={md5}",
        licence=licence,
        licence_url=f"https://github.com/{project}",
        size_bytes=size * MB,
        memory_bytes=memory * MB,
    )
    for slug, label, family, file, md5, licence, project, size, memory in (
        (
            *("u2net", "U²-Net", "u2net", "u2net", "60024c5c889badc19c04ad937298a77b"),
            *(APACHE, "xuebinqin/U-2-Net", 176, 700),
        ),
        (
            *("u2netp", "U²-Net, small", "u2net", "u2netp", "8e83ca70e441ab06c318d82300c84806"),
            *(APACHE, "xuebinqin/U-2-Net", 5, 400),
        ),
        (
            *("u2net_human_seg", "U²-Net for people", "u2net", "u2net_human_seg", "c09ddc2e0104f800e3e1bb4652583d1f"),
            *(APACHE, "xuebinqin/U-2-Net", 176, 700),
        ),
        (
            *("u2net_cloth_seg", "U²-Net for garments", "u2net-cloth-seg", "u2net_cloth_seg"),
            *("2434d1f3cb744e0e49386c906e5a08bb", MIT, "levindabhi/cloth-segmentation", 176, 2_000),
        ),
        (
            *("silueta", "Silueta", "u2net", "silueta", "55e59e0d8062d2f5d013f4725ee84782"),
            *(NOT_STATED, "xuebinqin/U-2-Net/issues/295", 44, 400),
        ),
        (
            *("isnet-general-use", "IS-Net", "isnet", "isnet-general-use", "fc16ebd8b0c10d971d3513d564d01e29"),
            *(APACHE, "xuebinqin/DIS", 179, 1_500),
        ),
        (
            *("isnet-anime", "IS-Net for drawings", "isnet-anime", "isnet-anime", "6f184e756bb3bd901c8849220a83e38e"),
            *(APACHE, "SkyTNT/anime-segmentation", 176, 1_500),
        ),
        (
            *("birefnet-general", "BiRefNet", "birefnet", "BiRefNet-general-epoch_244"),
            *("7a35a0141cbbc80de11d9c9a28f52697", MIT, "ZhengPeng7/BiRefNet", 973, 8_000),
        ),
        (
            *("birefnet-general-lite", "BiRefNet, small", "birefnet", "BiRefNet-general-bb_swin_v1_tiny-epoch_232"),
            *("4fab47adc4ff364be1713e97b7e66334", MIT, "ZhengPeng7/BiRefNet", 224, 4_000),
        ),
    )
)
"""The ONNX files of rembg's release, by rembg's names. Its source states their MD5; sizes and memory are estimates."""

MOBILE_SAM = ModelSpec(
    slug="mobile-sam",
    label="MobileSAM",
    family="mobile-sam",
    repo="Acly/MobileSAM",
    licence="MIT; of the original weights Apache-2.0",
    licence_url="https://huggingface.co/Acly/MobileSAM",
    size_bytes=45 * MB,
    memory_bytes=800 * MB,
)
"""Not the file that returns a single mask, which lies beside them. Size and memory are estimates."""

TRANSFORMERS = tuple(
    ModelSpec(
        slug=slug,
        label=label,
        family=family,
        repo=repo,
        licence=licence,
        licence_url=f"https://huggingface.co/{repo}",
        size_bytes=size * MB,
        memory_bytes=memory * MB,
        aliases=aliases,
    )
    for slug, label, family, repo, licence, size, memory, aliases in (
        ("slimsam", "SlimSAM", "sam", "Zigeng/SlimSAM-uniform-77", APACHE, 39, 600, ()),
        ("sam-vit-base", "SAM ViT-B", "sam", "facebook/sam-vit-base", APACHE, 375, 2_000, ("vit_b",)),
        ("sam-vit-large", "SAM ViT-L", "sam", "facebook/sam-vit-large", APACHE, 1_250, 4_000, ("vit_l",)),
        ("sam-vit-huge", "SAM ViT-H", "sam", "facebook/sam-vit-huge", APACHE, 2_564, 7_000, ("vit_h",)),
        ("sam2.1-tiny", "SAM 2.1 tiny", "sam2", "facebook/sam2.1-hiera-tiny", APACHE, 156, 1_000, ()),
        (
            *("grounding-dino-tiny", "Grounding DINO tiny", "grounding-dino", "IDEA-Research/grounding-dino-tiny"),
            *(APACHE, 690, 2_000, ()),
        ),
        (
            *("blip-base", "BLIP base", "blip", "Salesforce/blip-image-captioning-base"),
            *("BSD-3-Clause", 990, 2_000, ()),
        ),
        ("florence2-base", "Florence-2 base", "florence2", "florence-community/Florence-2-base", MIT, 465, 2_000, ()),
        (
            *("depth-anything-v2-small", "Depth Anything V2 small", "depth-anything"),
            *("depth-anything/Depth-Anything-V2-Small-hf", APACHE, 99, 1_000, ()),
        ),
        (
            "vitpose-base-simple",
            "ViTPose base",
            "vitpose",
            "usyd-community/vitpose-base-simple",
            APACHE,
            344,
            1_000,
            (),
        ),
        ("rtdetr-r18", "RT-DETR R18", "rt-detr", "PekingU/rtdetr_r18vd_coco_o365", APACHE, 81, 600, ()),
    )
)
"""Sizes and memory are estimates."""

BSD = "BSD-3-Clause"
REAL_ESRGAN = "https://github.com/xinntao/Real-ESRGAN"

UPSCALERS = (
    ModelSpec(
        slug="realesrgan-x4plus",
        label="Real-ESRGAN x4",
        family="rrdbnet",
        aliases=("RealESRGAN_x4plus", "Real_ESRGAN_x4plus", "r-esrgan-4x-plus", "R-ESRGAN 4x+"),
        repo="Comfy-Org/Real-ESRGAN_repackaged",
        variant="RealESRGAN_x4plus",
        licence=BSD,
        licence_url=f"{REAL_ESRGAN}/blob/master/LICENSE",
        size_bytes=67 * MB,
        memory_bytes=1_500 * MB,
    ),
    *(
        ModelSpec(
            slug=slug,
            label=label,
            family=family,
            aliases=aliases,
            source=Source.URL,
            repo=f"{REAL_ESRGAN}/releases/download/{file}.pth#sha256={sha256}",
            licence=BSD,
            licence_url=f"{REAL_ESRGAN}/blob/master/LICENSE",
            size_bytes=size * MB,
            memory_bytes=memory * MB,
        )
        for slug, label, family, aliases, file, sha256, size, memory in (
            (
                *("realesrgan-x2plus", "Real-ESRGAN x2", "rrdbnet"),
                *(("RealESRGAN_x2plus", "R-ESRGAN 2x+"), "v0.2.1/RealESRGAN_x2plus"),
                *("49fafd45f8fd7aa8d31ab2a22d14d91b536c34494a5cfe31eb5d89c2fa266abb", 67, 1_500),
            ),
            (
                *("realesrgan-x4plus-anime", "Real-ESRGAN x4 for drawings", "rrdbnet"),
                ("RealESRGAN_x4plus_anime_6B", "R-ESRGAN 4x+ Anime6B"),
                "v0.2.2.4/RealESRGAN_x4plus_anime_6B",
                *("f872d837d3c90ed2e05227bed711af5671a6fd1c9f7d7e91c911a61f155e99da", 18, 1_500),
            ),
            (
                *("realesr-general-x4v3", "Real-ESRGAN x4, small", "srvgg"),
                *(("R-ESRGAN General 4xV3",), "v0.2.5.0/realesr-general-x4v3"),
                *("8dc7edb9ac80ccdc30c3a5dca6616509367f05fbc184ad95b731f05bece96292", 5, 600),
            ),
        )
    ),
)
"""Real-ESRGAN's: the first repackaged for ComfyUI, the others the .pth files of its releases. Memory is an estimate."""

SHIPPED_TOOLS = (*SALIENT_OBJECTS, MOBILE_SAM, *TRANSFORMERS, *UPSCALERS)
