// Numbers formatted for people. Pure: no DOM.

/** 10485760 -> "10 MB" @param {number} count */
export function bytes(count) {
  if (count < 1024) return `${count} bytes`
  const [size, unit] = count < 1024 ** 2 ? [count / 1024, "KB"] : count < 1024 ** 3 ? [count / 1024 ** 2, "MB"] : [count / 1024 ** 3, "GB"]
  return `${size < 10 && !Number.isInteger(size) ? size.toFixed(1) : Math.round(size)} ${unit}`
}

/** 0.1234 -> "12 %"; a little is never "0 %", nearly all is never "100 %". @param {number} fraction */
export function share(fraction) {
  if (fraction === 0) return "0 %"
  if (fraction < 0.001) return "under 0.1 %"
  if (fraction > 0.999 && fraction < 1) return "over 99.9 %"
  const percent = fraction * 100
  return `${percent < 10 ? percent.toFixed(1) : Math.round(percent)} %`
}

/** 3.14159 -> "3.1 s"; 75 -> "1 min 15 s" @param {number} seconds */
export function duration(seconds) {
  if (seconds < 60) return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`
  const whole = Math.round(seconds)
  return `${Math.floor(whole / 60)} min ${whole % 60} s`
}

/** An estimate, without tenths: 3.14159 -> "3 s"; 75 -> "1 min 15 s" @param {number} seconds */
export const roughly = (seconds) => (seconds < 60 ? `${Math.max(1, Math.round(seconds))} s` : duration(seconds))

/** 1 -> "1st", 12 -> "12th", 23 -> "23rd" @param {number} number */
export function ordinal(number) {
  const teen = number % 100 > 10 && number % 100 < 14
  return `${number}${(teen ? "" : ["", "st", "nd", "rd"][number % 10]) || "th"}`
}

/** "holiday.final.jpg" -> "holiday.final" @param {string} filename */
export const stem = (filename) => filename.replace(/\.[^.]+$/, "") || filename

/** A score of the server, or a dash where there is none. @param {unknown} value */
export const score = (value) => (typeof value === "number" ? value.toFixed(2) : "–")

/** "25 Nov 2026, 14:05", or only "14:05", where the browser is. @param {string} time in ISO 8601 @param {boolean} isTimeAlone */
export const localTime = (time, isTimeAlone = false) =>
  new Date(time).toLocaleString("en-GB", isTimeAlone ? { timeStyle: "short" } : { dateStyle: "medium", timeStyle: "short" })
