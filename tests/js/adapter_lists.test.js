// The settings that list adapters.

import assert from "node:assert/strict"
import { test } from "node:test"

import { AdapterLists } from "editor/form/adapter_lists"

const LISTS = new AdapterLists([
  {
    setting: "controls", id: "control", images: ["control_image", "control_image_2", "control_image_3"],
    first: { control: "slug", control_strength: "strength", control_type: "type" }, numbers: ["strength"],
  },
  { setting: "ip_adapters", id: "ip-adapter", images: ["ip_adapter_image"], first: { ip_adapter: "slug" }, numbers: [] },
])

test("inputs are named by the settings of the first row", () => {
  assert.deepEqual(LISTS.adapters, ["control", "control_2", "control_3", "ip_adapter"])
  assert.deepEqual(LISTS.namesOf("control_type"), ["control_type", "control_type_2", "control_type_3"])
  assert.deepEqual(LISTS.namesOf("steps"), ["steps"])
  assert.equal(LISTS.settingOf("control_type_2"), "control_type")
  assert.equal(LISTS.settingOf("seed_2"), "seed_2")
})

test("one adapter is sent by its settings, several are sent as a list", () => {
  const one = { control: "depth", control_strength: "0.5", steps: "20" }
  assert.deepEqual(LISTS.inLists(one), one)
  const several = { ...one, control_3: "union", control_type_3: "canny" }
  const controls = [{ slug: "depth", strength: 0.5 }, { slug: "union", type: "canny" }]
  assert.deepEqual(LISTS.inLists(several), { steps: "20", controls: JSON.stringify(controls) })
})

test("numbers without an adapter are not sent but for those of the first", () => {
  assert.deepEqual(LISTS.inLists({ control_strength: "1", control_strength_2: "1" }), { control_strength: "1" })
})

test("a list of a request fills the rows", () => {
  const request = { steps: 20, controls: [{ slug: "depth", strength: 0.5, type: null }, { slug: "union", type: "canny" }] }
  assert.deepEqual(LISTS.inRows(request), {
    steps: 20,
    control: "depth", control_strength: 0.5, control_type: undefined,
    control_2: "union", control_strength_2: undefined, control_type_2: "canny",
  })
})
