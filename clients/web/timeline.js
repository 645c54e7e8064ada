// @ts-check
/** Which time each sample in a ring has: it runs on with the samples, and jumps where some are missing. Allocates nothing. */
const MOST_JUMPS = 64;

export class Timeline {
  /** Time of the sample that would be number 0. */
  #base = 0;
  /** Numbers of the samples at which the time jumps, and the base from there on; a circle. */
  #at = new Float64Array(MOST_JUMPS);
  #bases = new Float64Array(MOST_JUMPS);
  #noted = 0;
  #passed = 0;

  /** Whether the time jumps somewhere among the samples that wait. */
  get jumps() {
    return this.#noted > this.#passed;
  }

  /**
   * Time of a sample that is next to be read.
   * @param {number} number how many were read before it
   */
  timeOf(number) {
    while (this.jumps && this.#at[this.#passed % MOST_JUMPS] <= number) {
      this.#base = this.#bases[this.#passed++ % MOST_JUMPS];
    }
    return this.#base + number;
  }

  /**
   * Time of a sample that is next to be written.
   * @param {number} number how many were written before it
   */
  timeOfNext(number) {
    return (this.jumps ? this.#bases[(this.#noted - 1) % MOST_JUMPS] : this.#base) + number;
  }

  /**
   * From the next sample that is written on it is another time.
   * @param {number} number how many were written before it
   * @param {number} time
   */
  jump(number, time) {
    if (this.#noted - this.#passed === MOST_JUMPS) {
      this.#passed += 1; // so many gaps in so little sound: the time is late for a moment
    }
    this.#at[this.#noted % MOST_JUMPS] = number;
    this.#bases[this.#noted % MOST_JUMPS] = time - number;
    this.#noted += 1;
  }

  /**
   * Nothing waits: it is another time at once.
   * @param {number} number of samples that were ever read, and written
   * @param {number} time
   */
  set(number, time) {
    this.#passed = this.#noted;
    this.#base = time - number;
  }
}
