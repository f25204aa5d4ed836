// Calls the inference API with @huggingface/inference, as its users do; see openai_python.py.
import { readFileSync, writeFileSync } from "node:fs"
import { InferenceClient } from "@huggingface/inference"

const [address, key, folder] = process.argv.slice(2)
const client = new InferenceClient(key)
const photo = new Blob([readFileSync(`${folder}/photo.png`)], { type: "image/png" })
const mask_image = readFileSync(`${folder}/mask.png`).toString("base64")
const at = (name) => ({ endpointUrl: `${address}/hf/${name}` })

async function written(name, image) {
  writeFileSync(`${folder}/${name}-0`, Buffer.from(await image.arrayBuffer()))
  return [`${name}-0`]
}

const calls = {
  node_mask: async () =>
    written("node_mask", await client.imageToImage({ ...at("auto"), inputs: photo, parameters: { prompt: "", mask_image } })),
  node_text_to_image: async () =>
    written("node_text_to_image", await client.textToImage({ ...at("auto"), inputs: "a cat", parameters: { width: 128, height: 64 } }, { outputType: "blob" })),
  node_image_to_text: async () => [(await client.imageToText({ ...at("image-to-text"), data: photo })).generated_text],
  node_segments: async () =>
    (await client.imageSegmentation({ ...at("image-segmentation"), inputs: photo })).map((segment) => segment.label),
}

const found = {}
for (const [name, call] of Object.entries(calls)) {
  try {
    found[name] = await call()
  } catch (error) {
    found[name] = { status: error.httpResponse?.status, message: error.message }
  }
}
console.log(JSON.stringify(found))
