// Lines over the photo that are no part of the mask: the brush's ring, outlines of shapes, the crosshair, the frame.

import { toScreen } from "editor/view/viewport"

const SVG = "http://www.w3.org/2000/svg"

/** @typedef {{kind: "ring", at: number[], size: number} | {kind: "path", points: number[][], isClosed?: boolean}
 *   | {kind: "rectangle", box: number[]} | {kind: "ellipse", box: number[]} | {kind: "crosshair", at: number[]}
 *   | {kind: "outlines", rings: number[][][]} | {kind: "handles", points: number[][]} | {kind: "knob", from: number[], at: number[]} | {kind: "frame", inner: number[], outer: number[]}} Guide
 *  in pixels of the photo; a ring's size is its diameter */
/** @typedef {(point: number[]) => number[]} ToScreen  a point of the photo -> of the screen */
/** @template {Guide} Kind @typedef {(guide: Kind, screen: ToScreen, scale: number) => SVGElement[]} Drawing */

export class Guides {
  #layer = document.createElementNS(SVG, "svg")

  /** @param {HTMLElement} surface */
  constructor(surface) {
    this.#layer.setAttribute("class", "guides")
    this.#layer.setAttribute("aria-hidden", "true")
    surface.append(this.#layer)
  }

  /** @param {Guide[]} guides @param {import("editor/view/viewport").Viewport} viewport */
  draw(guides, viewport) {
    /** @type {ToScreen} */
    const screen = ([x, y]) => {
      const { left, top } = toScreen(viewport, { x, y })
      return [left, top]
    }
    this.#layer.replaceChildren(...guides.flatMap((guide) => /** @type {Drawing<Guide>} */ (DRAWN[guide.kind])(guide, screen, viewport.scale)))
  }
}

/** @type {{[Kind in Guide["kind"]]: Drawing<Extract<Guide, {kind: Kind}>>}} */
const DRAWN = {
  ring({ at, size }, screen, scale) {
    const [x, y] = screen(at)
    return lines("circle", { cx: x, cy: y, r: Math.max(1.5, (size * scale) / 2) })
  },
  rectangle: ({ box }, screen) => lines("rect", rectangle(box, screen)),
  ellipse({ box }, screen) {
    const { x, y, width, height } = rectangle(box, screen)
    return lines("ellipse", { cx: x + width / 2, cy: y + height / 2, rx: width / 2, ry: height / 2 })
  },
  path: ({ points, isClosed = false }, screen) => lines("path", { d: `M${points.map(screen).join("L")}${isClosed ? "Z" : ""}` }),
  outlines: ({ rings }, screen) => lines("path", { d: rings.map((ring) => `M${ring.map(screen).join("L")}Z`).join("") }),
  crosshair({ at }, screen) {
    const [x, y] = screen(at)
    return lines("path", { d: `M${x - 14} ${y}H${x - 4}M${x + 4} ${y}H${x + 14}M${x} ${y - 14}V${y - 4}M${x} ${y + 4}V${y + 14}` })
  },
  handles: ({ points }, screen) => points.map(screen).map(([x, y]) => made("rect", "handle", { x: x - 5, y: y - 5, width: 10, height: 10, rx: 2 })),
  knob({ from, at }, screen) {
    const [[startX, startY], [x, y]] = [screen(from), screen(at)]
    return [...lines("path", { d: `M${startX} ${startY}L${x} ${y}` }), made("circle", "handle", { cx: x, cy: y, r: 7 })]
  },
  frame({ inner, outer }, screen) {
    const [out, photo] = [rectangle(outer, screen), rectangle(inner, screen)]
    /** @param {ReturnType<typeof rectangle>} box */
    const ring = ({ x, y, width, height }) => `M${x} ${y}h${width}v${height}h${-width}z`
    return [made("path", "frame-area", { d: ring(out) + ring(photo), "fill-rule": "evenodd" }), ...lines("rect", out)]
  },
}

/** A light line with dark dashes, to be seen on any photo.
 *  @param {string} name @param {Record<string, string | number>} attributes */
const lines = (name, attributes) => [made(name, "guide-light", attributes), made(name, "guide-dark", attributes)]

/** @param {string} name @param {string} type @param {Record<string, string | number>} attributes @returns {SVGElement} */
function made(name, type, attributes) {
  const element = /** @type {SVGElement} */ (document.createElementNS(SVG, name))
  for (const [key, value] of Object.entries({ class: type, ...attributes })) element.setAttribute(key, /** @type {string} */ (value))
  return element
}

/** @param {number[]} box @param {ToScreen} screen */
function rectangle([left, top, right, bottom], screen) {
  const [x, y] = screen([left, top])
  const [farX, farY] = screen([right, bottom])
  return { x, y, width: farX - x, height: farY - y }
}
