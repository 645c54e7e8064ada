// @ts-check
/**
 * Samples between who makes them and who plays them: a circle of a fixed size that counts what passes.
 * For one thread. Nothing is allocated after the constructor.
 */
export class Ring {
  /** @type {Float32Array} */
  #samples;

  /** @param {number} capacity in samples, at least 1 */
  constructor(capacity) {
    if (!Number.isInteger(capacity) || capacity < 1) {
      throw new RangeError(`a ring holds a whole number of samples, at least 1, not ${capacity}`);
    }
    this.#samples = new Float32Array(capacity);
    /** Samples that were ever written. */
    this.written = 0;
    /** Samples that were ever read, skipped or cleared. */
    this.read = 0;
  }

  /** Samples that wait. */
  get size() {
    return this.written - this.read;
  }

  /** Samples that may be written now. */
  get room() {
    return this.#samples.length - this.size;
  }

  /**
   * Take what there is room for.
   * @param {Float32Array} samples
   * @returns {number} how many were taken; the rest is refused
   */
  write(samples) {
    const count = Math.min(samples.length, this.room);
    const capacity = this.#samples.length;
    let place = this.written % capacity;
    for (let i = 0; i < count; i++) {
      this.#samples[place] = samples[i];
      place = place + 1 === capacity ? 0 : place + 1;
    }
    this.written += count;
    return count;
  }

  /**
   * Move the oldest samples to `out`, from index `at` on.
   * @param {Float32Array} out
   * @param {number} at
   * @param {number} count at most so many
   * @returns {number} how many there were
   */
  readInto(out, at, count) {
    const n = Math.min(count, this.size);
    const capacity = this.#samples.length;
    let place = this.read % capacity;
    for (let i = 0; i < n; i++) {
      out[at + i] = this.#samples[place];
      place = place + 1 === capacity ? 0 : place + 1;
    }
    this.read += n;
    return n;
  }

  /**
   * A sample that waits.
   * @param {number} index 0 is the oldest
   */
  peek(index) {
    return this.#samples[(this.read + index) % this.#samples.length];
  }

  /**
   * Change a sample that waits.
   * @param {number} index 0 is the oldest
   * @param {number} value
   */
  poke(index, value) {
    this.#samples[(this.read + index) % this.#samples.length] = value;
  }

  /**
   * Throw the oldest samples away.
   * @param {number} count at most so many
   */
  skip(count) {
    this.read += Math.min(count, this.size);
  }

  /** Throw away everything that waits. */
  clear() {
    this.read = this.written;
  }
}
