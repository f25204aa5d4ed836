// A zone that takes files: dropped on it or picked with its file input.

/** Calls `onFiles`. While a file hovers the zone has the class `over`.
 *  @param {HTMLElement} zone @param {HTMLInputElement} input @param {(files: File[]) => void} onFiles */
export function dropzone(zone, input, onFiles) {
  let depth = 0 // enter and leave also fire for every child
  /** @param {number} change */
  const hover = (change) => {
    depth = Math.max(0, depth + change)
    zone.classList.toggle("over", depth > 0)
  }
  zone.addEventListener("dragenter", (event) => { if (hasFiles(event)) hover(+1) })
  zone.addEventListener("dragleave", (event) => { if (hasFiles(event)) hover(-1) })
  zone.addEventListener("drop", (event) => {
    if (!hasFiles(event)) return
    hover(-Infinity)
    if (event.defaultPrevented) return // a zone inside this one has taken them
    event.preventDefault()
    const files = [.../** @type {DataTransfer} */ (event.dataTransfer).files]
    if (files.length) onFiles(files)
  })
  input.addEventListener("change", () => {
    const files = [.../** @type {FileList} */ (input.files)]
    input.value = "" // so that the same file can be picked again
    if (files.length) onFiles(files)
  })
}

/** Keeps a file dropped outside every zone from replacing the page. Pasted images go to `onPaste`.
 *  @param {(files: File[]) => void} onPaste */
export function guardPage(onPaste) {
  for (const type of ["dragover", "drop"]) {
    document.addEventListener(/** @type {"dragover" | "drop"} */ (type), (event) => { if (hasFiles(event)) event.preventDefault() })
  }
  document.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])].filter((file) => file.type.startsWith("image/"))
    if (!files.length) return
    event.preventDefault()
    onPaste(files)
  })
}

/** @param {DragEvent} event */
const hasFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files")
