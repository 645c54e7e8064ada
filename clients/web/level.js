// @ts-check
/** How loud a sound is between two looks. */
export class Level {
  #sum = 0;
  #count = 0;
  #peak = 0;

  /** Since the last `restart`; 0 ... 1. */
  get rms() {
    return this.#count ? Math.sqrt(this.#sum / this.#count) : 0;
  }

  get peak() {
    return this.#peak;
  }

  /**
   * @param {Float32Array} samples
   * @param {number} count
   */
  hear(samples, count) {
    for (let i = 0; i < count; i++) {
      const sample = samples[i];
      this.#sum += sample * sample;
      this.#peak = Math.max(this.#peak, Math.abs(sample));
    }
    this.#count += count;
  }

  restart() {
    this.#sum = this.#count = this.#peak = 0;
  }
}

/**
 * @param {number} amplitude 1 is full scale
 * @returns {number} dBFS, -100 at least
 */
export function dbfs(amplitude) {
  return Math.max(20 * Math.log10(Math.max(amplitude, 1e-9)), -100);
}
