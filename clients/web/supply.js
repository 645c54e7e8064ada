// @ts-check
/** A text on its way to the server, which lets only so much of it wait to be spoken: the rest waits here. */

/** Of a text as a whole: stream/PROTOCOL.md, section 2, mode speak. */
export const MOST_CHARS = 100_000;

/**
 * How many characters the server counts in a text: JavaScript counts some of them twice.
 * @param {string} text
 */
export function countChars(text) {
  let n = 0;
  for (const _ of text) {
    n += 1;
  }
  return n;
}

/**
 * What to tell who wrote it.
 * @param {string} text
 * @returns {string} empty: the server takes it
 */
export function tooLong(text) {
  const n = text.length > MOST_CHARS ? countChars(text) : 0; // which takes a moment, and mostly is not needed
  const say = (/** @type {number} */ count) => count.toLocaleString("en");
  return n > MOST_CHARS
    ? `This text has ${say(n)} characters. At most ${say(MOST_CHARS)} can be spoken at once: shorten it by ${say(n - MOST_CHARS)}.`
    : "";
}

export class Supply {
  /** What was written and not given to the server. */
  #written = "";
  /** What was given and not begun by it. */
  #given = "";
  #room;
  #piece;
  #isComplete = false;

  /** @param {number} mostWaiting `limits.text_chars` of the server's hello; half of it is kept filled, for what crosses on the line */
  constructor(mostWaiting) {
    this.#room = Math.floor(mostWaiting / 2);
    this.#piece = Math.max(Math.floor(this.#room / 2), 1);
  }

  /** Whether nothing will be added. */
  get isComplete() {
    return this.#isComplete;
  }

  /** Whether some of it is still to be given. */
  get waits() {
    return this.#written !== "";
  }

  /** @param {string} text more of it */
  write(text) {
    this.#written += text;
  }

  /** That was all. */
  end() {
    this.#isComplete = true;
  }

  /** Nothing of it is wanted any more. */
  drop() {
    this.#written = this.#given = "";
  }

  /** What the server has room for now, in pieces; it is given then. */
  take() {
    const pieces = [];
    while (this.waits && this.#given.length <= this.#room) {
      pieces.push(this.#cut());
    }
    return pieces;
  }

  /**
   * The server has begun to speak a passage: what is before its end waits no more.
   * @param {string} passage as it was written
   */
  begun(passage) {
    const at = this.#given.indexOf(passage);
    if (at >= 0) {
      this.#given = this.#given.slice(at + passage.length);
    }
  }

  /** Nothing in the oldest piece can be said, so that it never begins: there is room for one more. */
  passOver() {
    this.#given = this.#given.slice(this.#piece);
  }

  /** A piece that ends with a whole character: two halves in two messages would be none. */
  #cut() {
    const isHalved = /[\ud800-\udbff]/.test(this.#written.charAt(this.#piece - 1));
    const length = this.#piece + (isHalved ? 1 : 0);
    const piece = this.#written.slice(0, length);
    this.#written = this.#written.slice(length);
    this.#given += piece;
    return piece;
  }
}
