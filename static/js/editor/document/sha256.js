// SHA-256 by the browser; its own is missing on pages that are served over plain HTTP by another machine.

/** @param {ArrayBuffer} buffer @returns {Promise<string>} 64 hexadecimal digits */
export async function sha256(buffer) {
  const digest = crypto.subtle ? new Uint8Array(await crypto.subtle.digest("SHA-256", buffer)) : (await import("editor/document/sha256_digest")).digestOf(buffer)
  return [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("")
}
