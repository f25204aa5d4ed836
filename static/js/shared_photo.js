// The page that asks again for a photo that another app has shared and that no service worker received.

import { byId } from "dom"
import { dropzone, guardPage } from "dropzone"
import { keepAndOpen } from "pending_photo"

const $ = /** @type {import("dom").ById<{"photo-input": HTMLInputElement}>} */ (byId)
const root = $("shared-photo")
/** @param {File[]} files */
const open = ([file]) => keepAndOpen(file, /** @type {string} */ (root.dataset.editorUrl))

dropzone(root, $("photo-input"), open)
guardPage(open)
