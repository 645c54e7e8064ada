// @ts-check
/**
 * Leaves a few milliseconds out of a sound so that nobody notices: where it resembles itself most, a pitch period or some of
 * them away, one side runs into the other (the idea of WSOLA, Verhelst and Roelands 1993). Allocates nothing.
 */

/**
 * How far ahead the sound that waits resembles its beginning most.
 * @param {import("./ring.js").Ring} ring holds at least `most + overlap` samples
 * @param {number} least samples
 * @param {number} most
 * @param {number} overlap samples that are compared
 */
export function bestLag(ring, least, most, overlap) {
  let best = most;
  let likeness = -Infinity;
  for (let lag = least; lag <= most; lag++) {
    let both = 0;
    let power = 1e-9;
    for (let i = 0; i < overlap; i++) {
      const there = ring.peek(lag + i);
      both += ring.peek(i) * there;
      power += there * there;
    }
    const like = (both * Math.abs(both)) / power;
    if (like > likeness) {
      likeness = like;
      best = lag;
    }
  }
  return best;
}

/**
 * Leave the oldest `lag` samples out; they run into what follows.
 * @param {import("./ring.js").Ring} ring holds at least `lag + overlap` samples
 * @param {number} lag
 * @param {number} overlap
 */
export function leaveOut(ring, lag, overlap) {
  for (let i = 0; i < overlap; i++) {
    const share = (i + 1) / (overlap + 1);
    ring.poke(lag + i, ring.peek(i) * (1 - share) + ring.peek(lag + i) * share);
  }
  ring.skip(lag);
}
