// What was done to a photo, in the words of the page. The server decides which; see `verb` in the metadata of the API.

import { gettext } from "text"

/** @typedef {import("job/follow").Verb} Verb */

const ALONE = {
  Removed: gettext("Removed"),
  Painted: gettext("Painted"),
  Extended: gettext("Extended"),
  Inserted: gettext("Inserted"),
  Enlarged: gettext("Enlarged"),
}
const WITH_TIME = {
  Removed: gettext("Removed in {time}"),
  Painted: gettext("Painted in {time}"),
  Extended: gettext("Extended in {time}"),
  Inserted: gettext("Inserted in {time}"),
  Enlarged: gettext("Enlarged in {time}"),
}

/** "Removed in 1.4 s" @param {Verb} verb @param {string} time empty where it is not known */
export const doneIn = (verb, time) => (time ? WITH_TIME[verb].replace("{time}", time) : ALONE[verb])

/** "Removed", or the prompt. @param {{verb: Verb, prompt: string}} step prompt: "" where it was ignored */
export const stepInWords = ({ verb, prompt }) => (prompt && verb !== "Enlarged" ? prompt : ALONE[verb])
