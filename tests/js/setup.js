// Lets Node.js import the page's modules by the names that the import map gives them: `node --import ./tests/js/setup.js`.

import { webcrypto } from "node:crypto"
import { register } from "node:module"

register("./import_map.js", import.meta.url)

// What every supported browser has, and Node.js since versions 20 and 21.
globalThis.crypto ??= webcrypto
Array.prototype.toSorted ??= function (compare) { return [...this].sort(compare) }
Array.prototype.toReversed ??= function () { return [...this].reverse() }
Map.groupBy ??= function (items, keyOf) {
  const groups = new Map()
  for (const item of items) groups.set(keyOf(item), [...(groups.get(keyOf(item)) ?? []), item])
  return groups
}
