// @ts-check
/** What was heard, kept in memory, and as a wav file. */

const HEADER_BYTES = 44;
/** Older sound makes room. */
export const MOST_S = 300;

/** The newest `MOST_S` of a sound. */
export class Heard {
  /** @type {Int16Array[]} */
  #blocks = [];
  #rateHz;

  /** @param {number} rateHz */
  constructor(rateHz) {
    this.#rateHz = rateHz;
    /** Samples that are kept. */
    this.count = 0;
  }

  get seconds() {
    return this.count / this.#rateHz;
  }

  /** @param {Int16Array} block is kept, not copied */
  add(block) {
    this.#blocks.push(block);
    this.count += block.length;
    while (this.count - this.#blocks[0].length >= MOST_S * this.#rateHz) {
      this.count -= /** @type {Int16Array} */ (this.#blocks.shift()).length;
    }
  }

  /** A wav file: mono, 16 bits. */
  wav() {
    const bytes = new Uint8Array(HEADER_BYTES + 2 * this.count);
    const view = new DataView(bytes.buffer);
    const text = (/** @type {number} */ at, /** @type {string} */ letters) => {
      for (let i = 0; i < letters.length; i++) {
        bytes[at + i] = letters.charCodeAt(i);
      }
    };
    text(0, "RIFF");
    view.setUint32(4, bytes.length - 8, true);
    text(8, "WAVEfmt ");
    view.setUint32(16, 16, true); // bytes of the format
    view.setUint16(20, 1, true); // pcm
    view.setUint16(22, 1, true); // one channel
    view.setUint32(24, this.#rateHz, true);
    view.setUint32(28, 2 * this.#rateHz, true);
    view.setUint16(32, 2, true);
    view.setUint16(34, 16, true);
    text(36, "data");
    view.setUint32(40, 2 * this.count, true);
    let at = HEADER_BYTES;
    for (const block of this.#blocks) {
      for (let i = 0; i < block.length; i++, at += 2) {
        view.setInt16(at, block[i], true);
      }
    }
    return bytes;
  }
}
