// A request as a curl command. Pure: no DOM.

/**
 * The command that asks for the same once more. @param {string} url of `POST /api/img2img`
 * @param {object} requested the settings as the metadata lists them
 */
export function asCurl(url, requested) {
  const settings = Object.entries(requested).filter(([, value]) => value !== null && value !== "" && String(value) !== "")
  return [
    `curl ${quoted(url)}`,
    '-H "Authorization: Bearer $DREAMLAYER_KEY"',
    "-F image=@photo.png -F mask=@mask.png",
    ...settings.map(([name, value]) => `--form-string ${quoted(`${name}=${typeof value === "object" ? JSON.stringify(value) : value}`)}`),
  ].join(" \\\n  ")
}

/** For a POSIX shell. @param {string} text */
const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`
