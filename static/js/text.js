// The sentences of the modules in the language of the page. Django's catalog of it, a script that is loaded before the
// modules, defines `django`; English pages, workers and Node.js have none. Pure: no DOM but the language of the document.

/** @typedef {Record<string, string | number>} Values what stands for {name} in a sentence */
/**
 * @typedef {{
 *   gettext: (text: string) => string,
 *   ngettext: (one: string, many: string, count: number) => string,
 *   pgettext: (context: string, text: string) => string,
 * }} Catalog
 */

const catalog = /** @type {{django?: Catalog}} */ (globalThis).django

const language = globalThis.document?.documentElement?.lang || "en"

/** The locale of numbers and times. Arabic has the digits that the server writes too. */
export const LOCALE = language === "en" ? "en-GB" : `${language}-u-nu-latn`

/** The arrow keys to what comes before and after, in the direction of the page's text. */
export const [KEY_BEFORE, KEY_AFTER] = globalThis.document?.documentElement?.dir === "rtl" ? ["ArrowRight", "ArrowLeft"] : ["ArrowLeft", "ArrowRight"]

/** A text that is read from left to right, such as a size, in a sentence of either direction. @param {string} text */
export const isolated = (text) => (globalThis.document?.documentElement?.dir === "rtl" ? `\u2066${text}\u2069` : text)

/** `text` is a literal, which makemessages finds. @param {string} text @param {Values} [values] */
export const gettext = (text, values) => fill(catalog?.gettext(text) ?? text, values)

/** Words that have other meanings elsewhere, which `context` tells apart. @param {string} context @param {string} text */
export const pgettext = (context, text) => catalog?.pgettext(context, text) ?? text

/** The sentence for one or for many. @param {string} one @param {string} many @param {number} count @param {Values} [values] */
export const ngettext = (one, many, count, values) =>
  fill(catalog?.ngettext(one, many, count) ?? (count === 1 ? one : many), { count: number(count), ...values })

/** 1.5 -> "1.5", or "1,5" in German. @param {number} value @param {number} [digits] after the point */
export const number = (value, digits = 0) =>
  value.toLocaleString(LOCALE, { minimumFractionDigits: digits, maximumFractionDigits: digits, useGrouping: false })

/** @param {string} text @param {Values} [values] */
const fill = (text, values) => (values ? text.replace(/\{(\w+)\}/g, (whole, name) => String(values[name] ?? whole)) : text)
