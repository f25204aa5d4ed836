// The commands of the zoom buttons and keys.

const STEP = 1.5

/** @param {{readonly viewport: import("editor/view/viewport").Viewport, zoomBy: (factor: number) => void, fit: () => void}} view */
export function zoomCommands(view, isEnabled = () => true) {
  return {
    "zoom-in": { run: () => view.zoomBy(STEP), isEnabled },
    "zoom-out": { run: () => view.zoomBy(1 / STEP), isEnabled },
    "actual-size": { run: () => view.zoomBy(1 / window.devicePixelRatio / view.viewport.scale), isEnabled }, // a pixel of the photo is one of the screen
    fit: { run: () => view.fit(), isEnabled },
  }
}
