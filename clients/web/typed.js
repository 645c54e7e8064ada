// @ts-check
/** What a person writes, as it is given to the server: whole words as they come, the rest once it is complete. */
export class Typed {
  #last = "";
  /** So much of `#last` was given. */
  #at = 0;

  /**
   * What is to be given now. What was given cannot be unsaid: a change in it only moves the place from which it goes on.
   * @param {string} written all of it
   * @param {boolean} isComplete
   */
  take(written, isComplete) {
    const same = commonStart(this.#last, written);
    if (same < this.#at) {
      this.#at = Math.min(Math.max(this.#at + written.length - this.#last.length, same), written.length);
    }
    this.#last = written;
    const from = this.#at;
    this.#at = Math.max(isComplete ? written.length : lastWordIn(written), from);
    return written.slice(from, this.#at);
  }
}

/**
 * Where the word begins that may not be complete; at the end, if there is none. (A regular expression takes a minute to find
 * the end of a long text without a space.)
 * @param {string} text
 */
function lastWordIn(text) {
  let at = text.length;
  while (at > 0 && /\S/.test(text[at - 1])) {
    at -= 1;
  }
  return at;
}

/**
 * @param {string} a
 * @param {string} b
 */
function commonStart(a, b) {
  let n = 0;
  while (n < a.length && a[n] === b[n]) {
    n += 1;
  }
  return n;
}
