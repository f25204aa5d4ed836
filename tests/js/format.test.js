// Numbers, files and requests in words.

import assert from "node:assert/strict"
import { execFileSync } from "node:child_process"
import { test } from "node:test"

import { isBatch, masksOf, sorted } from "batch/pairs"
import { asCurl } from "editor/flow/curl"
import * as format from "format"

test("numbers are formatted for display", () => {
  const cases = [
    ["bytes", 10 * 1024 ** 2, "10 MB"],
    ["bytes", 900, "900 bytes"],
    ["bytes", 1536, "1.5 KB"],
    ["share", 0, "0 %"],
    ["share", 0.0001, "under 0.1 %"],
    ["share", 0.126, "13 %"],
    ["share", 0.9999, "over 99.9 %"],
    ["share", 1, "100 %"],
    ["duration", 3.14159, "3.1 s"],
    ["duration", 75.2, "1 min 15 s"],
    ["roughly", 3.14159, "3 s"],
    ["roughly", 0, "1 s"],
    ["roughly", 75.2, "1 min 15 s"],
    ["percent", 0.126, "13 %"],
    ["stem", "holiday.final.jpg", "holiday.final"],
    ["stem", ".png", ".png"],
    ["score", null, "–"],
  ]
  for (const [name, value, words] of cases) assert.equal(format[name](value), words, `${name}(${value})`)
})

test("a request is written as a curl command that a shell reads back", () => {
  const requested = { prompt: "it's @ <b>", seed: 7, loras: [{ slug: "ink" }], vae: null, negative_prompt: "" }
  const command = asCurl("https://a.example/api/img2img", { verb: "Painted", requested, width: 8, height: 8, results: [] })
  const words = execFileSync("sh", ["-c", command.replace("curl", "printf '%s\\n'")], { encoding: "utf8" }).split("\n")
  assert.deepEqual([words[0], words.includes("mask=@mask.png")], ["https://a.example/api/img2img", true])
  const sent = words.filter((_, i) => words[i - 1] === "--form-string")
  assert.deepEqual(sent, ["prompt=it's @ <b>", "seed=7", 'loras=[{"slug":"ink"}]'])
})

test("masks belong to photos by their names", () => {
  const file = (name, type = "image/png") => ({ name, type })
  const [bench, bus, text] = [file("bench.jpg", "image/jpeg"), file("IMG 12.png"), file("notes.txt", "text/plain")]
  const [benchMask, busMask] = [file("Bench mask.png"), file("mask_img12.png")]
  assert.deepEqual(sorted([bench, benchMask, bus, text]), { photos: [bench, bus], masks: [benchMask], others: [text] })
  assert.deepEqual(masksOf([bench, bus, file("c.png")], [busMask, benchMask]), [benchMask, busMask, null])
  assert.ok(isBatch([bench, bus]))
  assert.ok(!isBatch([bench, benchMask]))
})
