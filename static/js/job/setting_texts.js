// Settings as the text fields of a form. Pure: no DOM.

/** The settings that a generation's metadata lists as requested, without empty ones: lists and objects as JSON.
 *  @param {object} requested @returns {Record<string, string>} */
export function settingTexts(requested) {
  const given = Object.entries(requested).filter(([, value]) => value !== null && String(value) !== "")
  return Object.fromEntries(given.map(([name, value]) => [name, typeof value === "object" ? JSON.stringify(value) : String(value)]))
}
