// The images of a document and their ids.

import assert from "node:assert/strict"
import { createHash } from "node:crypto"
import { test } from "node:test"

import { get, put } from "editor/document/images"
import { digestOf } from "editor/document/sha256_digest"

const sha256 = (bytes) => createHash("sha256").update(bytes)

test("an image is found by the hash of its file", async () => {
  const id = await put(new Blob(["photo"]))
  assert.equal(id, sha256("photo").digest("hex"))
  assert.equal(await (await get(id)).text(), "photo")
  assert.equal(await get("0".repeat(64)), null)
})

test("the hash for pages without HTTPS is SHA-256", () => {
  for (const length of [0, 1, 55, 56, 63, 64, 65, 119, 120, 1000]) {
    const bytes = new Uint8Array(length).map((_, i) => i * 7)
    assert.deepEqual(Buffer.from(digestOf(bytes.buffer)), sha256(bytes).digest(), `${length} bytes`)
  }
})
