// An upscaling once more: as a curl command, and as the fields of a form.

import assert from "node:assert/strict"
import { test } from "node:test"

import { asCurl } from "editor/flow/curl"
import { fieldsOfUpscaling, hasMaskOfDetail } from "job/upscaling"

const enlarged = { verb: "Enlarged", requested: { engine: "upscale", model: "lanczos" }, width: 128, height: 96, results: [{ coverage: 1 }] }
const detailed = { ...enlarged, requested: { ...enlarged.requested, detail: 0.3, loras: [{ slug: "ink", weight: 1 }] }, results: [{ coverage: 0.2 }] }

test("an upscaling is asked for at /api/upscale, with its size, and a mask only where it marked a part", () => {
  assert.equal(asCurl("https://here.test/api/img2img", enlarged), [
    "curl 'https://here.test/api/upscale'",
    '-H "Authorization: Bearer $DREAMLAYER_KEY"',
    "-F image=@photo.png",
    "--form-string 'model=lanczos'",
    "--form-string 'width=128'",
    "--form-string 'height=96'",
  ].join(" \\\n  "))
  assert.match(asCurl("https://here.test/api/img2img", detailed), /-F image=@photo\.png -F mask=@mask\.png/)
})

test("its fields are texts of a form, without the engine", () => {
  assert.deepEqual(fieldsOfUpscaling(detailed), { model: "lanczos", detail: "0.3", loras: '[{"slug":"ink","weight":1}]', width: "128", height: "96" })
  assert.deepEqual([hasMaskOfDetail(detailed), hasMaskOfDetail(enlarged), hasMaskOfDetail({ results: [] })], [true, false, false])
})
