/** Random numbers that a seed repeats (mulberry32): random() is 0 to 1, whole(limit) an integer below it, from(list) an item. */
export function randomNumbers(seed) {
  let state = seed
  const random = () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
  const whole = (limit) => Math.floor(random() * limit)
  return { random, whole, from: (list) => list[whole(list.length)] }
}
