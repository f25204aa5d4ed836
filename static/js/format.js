// Numbers formatted for people. Pure: no DOM.

import { LOCALE, gettext, ngettext, number } from "text"

/** 10485760 -> "10 MB" @param {number} count */
export function bytes(count) {
  if (count < 1024) return ngettext("{count} byte", "{count} bytes", count)
  if (count < 1024 ** 2) return gettext("{size} KB", { size: short(count / 1024) })
  if (count < 1024 ** 3) return gettext("{size} MB", { size: short(count / 1024 ** 2) })
  return gettext("{size} GB", { size: short(count / 1024 ** 3) })
}

/** 3.14 -> "3.1", 31.4 -> "31" @param {number} value */
const short = (value) => number(value, value < 10 && !Number.isInteger(value) ? 1 : 0)

/**
 * 0.125 -> "13 %", as the language writes it; English has the space of the SI brochure (section 5.4.7).
 * @param {number} fraction @param {number} [digits] after the point
 */
export const percent = (fraction, digits = 0) =>
  LOCALE === "en-GB"
    ? `${number(100 * fraction, digits)} %`
    : fraction.toLocaleString(LOCALE, { style: "percent", minimumFractionDigits: digits, maximumFractionDigits: digits })

/** 0.1234 -> "12 %"; a little is never "0 %", nearly all is never "100 %". @param {number} fraction */
export function share(fraction) {
  if (fraction === 0) return percent(0)
  if (fraction < 0.001) return gettext("under {share}", { share: percent(0.001, 1) })
  if (fraction > 0.999 && fraction < 1) return gettext("over {share}", { share: percent(0.999, 1) })
  return percent(fraction, fraction < 0.1 ? 1 : 0)
}

/** 3.14159 -> "3.1 s"; 75 -> "1 min 15 s" @param {number} seconds */
export function duration(seconds) {
  if (seconds < 60) return gettext("{seconds} s", { seconds: number(seconds, seconds < 10 ? 1 : 0) })
  const whole = Math.round(seconds)
  return gettext("{minutes} min {seconds} s", { minutes: Math.floor(whole / 60), seconds: whole % 60 })
}

/** An estimate, without tenths: 3.14159 -> "3 s"; 75 -> "1 min 15 s" @param {number} seconds */
export const roughly = (seconds) => (seconds < 60 ? gettext("{seconds} s", { seconds: Math.max(1, Math.round(seconds)) }) : duration(seconds))

/** "holiday.final.jpg" -> "holiday.final" @param {string} filename */
export const stem = (filename) => filename.replace(/\.[^.]+$/, "") || filename

/** A score of the server, or a dash where there is none. @param {unknown} value */
export const score = (value) => (typeof value === "number" ? number(value, 2) : "–")

/** "25 Nov 2026, 14:05", or only "14:05", where the browser is. @param {string} time in ISO 8601 @param {boolean} isTimeAlone */
export const localTime = (time, isTimeAlone = false) =>
  new Date(time).toLocaleString(LOCALE, isTimeAlone ? { timeStyle: "short" } : { dateStyle: "medium", timeStyle: "short" })
