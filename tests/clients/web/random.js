// @ts-check
/** Random numbers that are the same every time. */

/**
 * Mulberry32, by Tommy Ettinger (public domain).
 * @param {number} seed
 * @returns {() => number} 0 ... 1
 */
export function seeded(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** @param {() => number} random @param {number} low @param {number} high both possible */
export function between(random, low, high) {
  return low + Math.floor(random() * (high - low + 1));
}
