// What this browser remembers between visits: the settings used last, presets, switches. Nothing where storage is off.

const PREFIX = "dreamlayer."

/** @param {string} name @param {any} otherwise @returns {any} the value kept under this name, or `otherwise` */
export function remembered(name, otherwise = null) {
  try {
    return JSON.parse(localStorage.getItem(PREFIX + name) ?? "null") ?? otherwise
  } catch {
    return otherwise
  }
}

/** @param {string} name @param {unknown} value as JSON */
export function remember(name, value) {
  try {
    localStorage.setItem(PREFIX + name, JSON.stringify(value))
  } catch {
    // Private windows and full disks: the next visit starts with the defaults.
  }
}
