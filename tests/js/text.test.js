// The sentences of the modules, with Django's catalog and without.

import assert from "node:assert/strict"
import { test } from "node:test"

test("without a catalog sentences are English, with their values", async () => {
  const { gettext, ngettext, number, pgettext } = await import("text")
  assert.equal(gettext("Step {step} of {of}", { step: 3, of: 20 }), "Step 3 of 20")
  assert.equal(gettext("Saved"), "Saved")
  assert.equal(pgettext("a mask", "Clear"), "Clear")
  assert.equal(gettext("{name} is {unknown}", { name: "{unknown}" }), "{unknown} is {unknown}")
  assert.equal(ngettext("{count} photo", "{count} photos", 1), "1 photo")
  assert.equal(ngettext("{count} photo of {total}", "{count} photos of {total}", 1200, { total: 2 }), "1200 photos of 2")
  assert.equal(number(1.25, 1), "1.3")
})

test("the catalog of the page translates them, and numbers follow its language", async () => {
  globalThis.document = { documentElement: { lang: "de" } }
  globalThis.django = {
    gettext: (text) => ({ "Step {step} of {of}": "Schritt {step} von {of}" })[text] ?? text,
    ngettext: (one, many, count) => (count === 1 ? "{count} Foto" : "{count} Fotos"),
    pgettext: (context, text) => ({ "a mask/Clear": "Leeren" })[`${context}/${text}`] ?? text,
  }
  const { gettext, ngettext, number, pgettext } = await import(`${new URL("../../static/js/text.js", import.meta.url)}?german`)
  delete globalThis.document
  delete globalThis.django
  assert.equal(gettext("Step {step} of {of}", { step: 3, of: 20 }), "Schritt 3 von 20")
  assert.equal(ngettext("{count} photo", "{count} photos", 2), "2 Fotos")
  assert.equal(pgettext("a mask", "Clear"), "Leeren")
  assert.equal(number(1.25, 1), "1,3")
})
