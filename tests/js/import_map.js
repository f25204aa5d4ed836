// The names of modules, as in the import map of the pages: "editor/document/store" is static/js/editor/document/store.js.
// Hooks of Node.js: https://nodejs.org/api/module.html#resolvespecifier-context-nextresolve

import { existsSync } from "node:fs"

const FOLDER = new URL("../../static/js/", import.meta.url)

export function resolve(specifier, context, nextResolve) {
  const module = new URL(`${specifier}.js`, FOLDER)
  return existsSync(module) ? { url: module.href, shortCircuit: true } : nextResolve(specifier, context)
}
