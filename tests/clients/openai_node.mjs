// Calls the image API with openai-node, as its users do; see openai_python.py.
import { createReadStream, readFileSync, writeFileSync } from "node:fs"
import OpenAI, { AzureOpenAI, toFile } from "openai"

const [address, key, folder] = process.argv.slice(2)
const client = new OpenAI({ baseURL: `${address}/v1`, apiKey: key, maxRetries: 0 })
const azure = new AzureOpenAI({ endpoint: address, apiVersion: "2025-04-01-preview", apiKey: key, maxRetries: 0 })
const [photo, mask] = ["photo", "alpha"].map((name) => `${folder}/${name}.png`)
const file = (path) => toFile(readFileSync(path), path.split("/").pop(), { type: "image/png" })

function written(name, images) {
  return images.map((image, index) => {
    writeFileSync(`${folder}/${name}-${index}`, Buffer.from(image, "base64"))
    return `${name}-${index}`
  })
}

const inline = (name, response) => written(name, response.data.map((image) => image.b64_json))

async function streamed() {
  const images = { image: createReadStream(photo), mask: createReadStream(mask) }
  const events = await client.images.edit({ model: "gpt-image-1", prompt: "", ...images, stream: true, partial_images: 2 })
  const found = []
  for await (const event of events) if (event.type === "image_edit.completed") found.push(event.b64_json)
  return written("node_stream", found)
}

async function edit(name, fields, from = client) {
  const images = { image: await file(photo), mask: await file(mask) }
  return inline(name, await from.images.edit({ model: "gpt-image-1", prompt: "", ...images, ...fields }))
}

const calls = {
  node_edit: () => edit("node_edit", {}),
  node_array: async () => edit("node_array", { image: [await file(photo)], n: 1 }),
  node_azure: () => edit("node_azure", {}, azure),
  node_stream: streamed,
  node_generate: async () => inline("node_generate", await client.images.generate({ model: "gpt-image-1", prompt: "a" })),
  node_models: async () => (await client.models.list()).data.map((model) => model.id),
}

async function outcome(call) {
  try {
    return await call()
  } catch (error) {
    if (!(error instanceof OpenAI.APIError)) throw error
    const { status, code, param, type, message } = error
    return { status, code, param, type, request_id: error.requestID, class: error.constructor.name, message }
  }
}

const found = {}
for (const [name, call] of Object.entries(calls)) found[name] = await outcome(call)
console.log(JSON.stringify(found))
