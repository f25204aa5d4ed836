"""Configurations of the published models, for checkpoints of one file, which hold weights alone.

Each JSON file holds the files of a pipeline in diffusers' layout by their names, as its publisher configured them:
`sd15` (runwayml), `sd2` and `sd2-v` (stabilityai: the base model of 512 pixels, which predicts noise, and that of 768,
which predicts velocity), `sdxl` (stabilityai). All of them read CLIP's vocabulary (Radford et al. 2021, arXiv
2103.00020), which follows from the merges of its byte pair encoding.

`parts/flux` holds the configurations of what transformers of FLUX.1 lack: CLIP and T5 as text encoders, both
tokenizers, and the VAE (Black Forest Labs). T5's vocabulary (Raffel et al. 2020, arXiv 1910.10683) is kept as the file
that the library tokenizers reads. `parts/chroma` is T5 by the names that it has in Chroma. `parts/sd3` is what Stable
Diffusion 3 has: these text encoders, CLIP-G and a VAE of its own (Stability AI). `parts/qwen3-4b` (Alibaba Cloud) is a
text encoder with its tokenizer. All models of Qwen since Qwen2 (arXiv 2407.10671) read one vocabulary, which follows
from its merges, and differ in special tokens.
"""

from __future__ import annotations

import gzip
import json
import lzma
from collections.abc import Container, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
NAMES = tuple(sorted(path.stem for path in HERE.glob("*.json")))
TOKENIZER = "tokenizer_config.json"
T5, QWEN = "T5TokenizerFast", "Qwen2Tokenizer"
WORD_END = "</w>"
NOT_IN_CONTROLNETS = ("up_block_types", "out_channels", "sample_size", "center_input_sample")
SPECIAL_WORDS = ("<|startoftext|>", "<|endoftext|>")


def write_configuration(name: str, folder: Path) -> None:
    """Write the pipeline without weights of one of NAMES into a folder."""
    write_files(files_of(name), folder)


def write_components(name: str, folder: Path, components: Container[str]) -> None:
    """Write some components of a pipeline without weights into a folder. name: as `files_of` takes it."""
    files = files_of(name)
    write_files({path: values for path, values in files.items() if path.partition("/")[0] in components}, folder)


def write_files(files: Mapping[str, Any], folder: Path) -> None:
    """Write JSON files into a folder, and beside the configuration of each tokenizer its vocabulary."""
    for path, values in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps(values, indent=2))
        if target.name != TOKENIZER:
            continue
        if values["tokenizer_class"] == T5:
            (target.parent / "tokenizer.json").write_bytes(
                lzma.decompress((HERE / "t5_tokenizer.json.xz").read_bytes())
            )
        elif values["tokenizer_class"] == QWEN:
            merges = lzma.decompress((HERE / "qwen_merges.txt.xz").read_bytes()).decode().split("\n")
            write_vocabulary(target.parent, qwen_words(merges), merges)
        else:
            merges = clip_merges()
            write_vocabulary(target.parent, clip_words(merges), merges)


def write_vocabulary(folder: Path, words: Iterable[str], merges: Iterable[str]) -> None:
    """Write the files of a byte pair encoding. words: by number."""
    vocabulary = {word: number for number, word in enumerate(words)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]), encoding="utf-8")


def vae_configuration(name: str) -> dict[str, Any]:
    """Return the configuration of a VAE. name: as `files_of` takes it."""
    return dict(files_of(name)["vae/config.json"])


def controlnet_configuration(name: str) -> dict[str, Any]:
    """Return the configuration of a ControlNet for the UNet of one of NAMES (Zhang et al. 2023, arXiv 2302.05543)."""
    unet = files_of(name)["unet/config.json"]
    shared = {key: value for key, value in unet.items() if key not in NOT_IN_CONTROLNETS}
    return {
        **shared,
        "_class_name": "ControlNetModel",
        "in_channels": 4,
        "conditioning_embedding_out_channels": [16, 32, 96, 256],
    }


def files_of(name: str) -> dict[str, Any]:
    """Return the files of one of NAMES, or of those in `parts/`, by their names in diffusers' layout."""
    return dict(json.loads((HERE / f"{name}.json").read_bytes()))


def clip_merges() -> list[str]:
    """Return the merges of CLIP's byte pair encoding, in their order."""
    return gzip.decompress((HERE / "clip_merges.txt.gz").read_bytes()).decode().splitlines()


def clip_words(merges: list[str]) -> Iterator[str]:
    """Yield the words of CLIP's vocabulary by number: bytes, bytes that end a word, merged ones, the special ones."""
    letters = byte_letters()
    yield from letters
    yield from (letter + WORD_END for letter in letters)
    yield from (merge.replace(" ", "") for merge in merges)
    yield from SPECIAL_WORDS


def qwen_words(merges: list[str]) -> Iterator[str]:
    """Yield the words of Qwen's vocabulary by number: bytes, merged ones. The special ones are the configuration's."""
    yield from byte_letters()
    yield from (merge.replace(" ", "") for merge in merges)


def byte_letters() -> list[str]:
    """Return the character for each byte in GPT-2's byte pair encoding: printable bytes first, then from U+0100 on."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    return [*map(chr, printable), *map(chr, range(256, 512 - len(printable)))]
