// @ts-check
/**
 * Blocks of s16 samples that leave an AudioWorklet and come back empty, so that nothing is allocated on the way of the sound.
 * What the blocks' owner has not given back in time is missed, and counted.
 */
import { toS16 } from "./wire.js";

export class Pool {
  #port;
  #blockSamples;
  /** @type {(Int16Array<ArrayBuffer> | null)[]} */
  #free;
  #freeCount;
  /** @type {Int16Array<ArrayBuffer> | null} */
  #block = null;
  #at = 0;
  #message;
  /** @type {ArrayBuffer[]} */
  #transfer = new Array(1);

  /**
   * @param {MessagePort} port gets `{type, samples, count}` of each block
   * @param {string} type
   * @param {number} blockSamples
   * @param {number} blocks
   */
  constructor(port, type, blockSamples, blocks) {
    this.#port = port;
    this.#blockSamples = blockSamples;
    this.#free = Array.from({ length: blocks }, () => new Int16Array(blockSamples));
    this.#freeCount = blocks;
    this.#message = { type, samples: /** @type {Int16Array | null} */ (null), count: 0 };
    /** Samples that there was no block for. */
    this.missed = 0;
  }

  /**
   * Take a block back.
   * @param {ArrayBuffer} buffer
   */
  giveBack(buffer) {
    if (this.#freeCount < this.#free.length) {
      this.#free[this.#freeCount++] = new Int16Array(buffer);
    }
  }

  /**
   * @param {Float32Array} samples
   * @param {number} count the first so many of them
   */
  write(samples, count) {
    for (let i = 0; i < count; i++) {
      if (this.#block === null) {
        if (this.#freeCount === 0) {
          this.missed += count - i;
          return;
        }
        this.#block = this.#free[--this.#freeCount];
        this.#free[this.#freeCount] = null;
        this.#at = 0;
      }
      if (this.#block !== null) {
        this.#block[this.#at++] = toS16(samples[i]);
        if (this.#at === this.#blockSamples) {
          this.flush();
        }
      }
    }
  }

  /** Post what there is of a block. */
  flush() {
    if (this.#block !== null) {
      this.#message.samples = this.#block;
      this.#message.count = this.#at;
      this.#transfer[0] = this.#block.buffer;
      this.#port.postMessage(this.#message, this.#transfer);
      this.#message.samples = null;
      this.#block = null;
    }
  }
}
