"""Prompts to begin with, of which the published front end shows one at random."""

PROMPTS = (
    "a stone path through a walled garden, morning mist, soft light",
    "a lighthouse on a cliff in a storm, long exposure, dramatic sky",
    "a bowl of ripe apricots on a linen cloth, window light, still life",
    "a narrow street after rain, reflections of shop signs, evening",
    "a wooden rowing boat on a still lake, mountains behind, autumn",
    "a reading chair beside a tall bookcase, warm lamp, rainy window",
    "a fox in deep snow, shallow depth of field, winter morning",
    "an old greenhouse full of ferns, iron frame, dusty glass",
    "a portrait of a violin maker in the workshop, side light",
    "a desert road at dusk, first stars, wide angle",
    "a market stall with spices in brass bowls, bright colours",
    "a paper crane on a windowsill, watercolour",
)
NEGATIVE_PROMPTS = (
    "blurry, low resolution, noise, compression artefacts",
    "text, watermark, signature, border",
    "deformed hands, extra fingers, distorted face",
    "overexposed, washed out colours, harsh shadows",
    "duplicate objects, cropped, out of frame",
)
