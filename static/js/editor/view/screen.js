// The sizes of screens on which the editor behaves differently, as in its style sheet.

/** A phone held upright: the settings are a sheet from below, and the bar at the hole is docked. */
export const narrow = matchMedia("(max-width: 820px)")
/** A phone held either way: the settings cover the dock. */
export const small = matchMedia("(max-width: 820px), (max-height: 480px)")
/** Fingers: nothing can be dropped from another window, and what is large is drawn smaller. */
export const touch = matchMedia("(pointer: coarse)")
