// @ts-check
/**
 * Changes the sample rate of a stream, block by block: a polyphase filter, a windowed sinc (Kaiser) for a ratio of whole
 * numbers. Blocks do not matter to the result. Nothing is allocated after the constructor.
 */

/** Zero crossings on either side of the filter's middle, at the lower of the two rates. */
const CROSSINGS = 32;
/** Of the Kaiser window: 80 dB. */
const BETA = 7.857;
/** Of the lower Nyquist frequency; with this window and length the stop band begins right there. */
const CUTOFF = 0.92;

export class Resampler {
  #up;
  #down;
  #taps;
  #table;
  #waiting;
  /** Samples in `#waiting`. */
  #count;
  /** Index in `#waiting` of the newest sample that the next output needs. */
  #newest;
  /** Where between two input samples the next output lies, in units of 1 / `#up`. */
  #phase = 0;

  /**
   * @param {number} inHz whole and positive, as `outHz`
   * @param {number} outHz
   * @param {number} most samples that are ever fed at once
   */
  constructor(inHz, outHz, most) {
    for (const rateHz of [inHz, outHz]) {
      if (!Number.isInteger(rateHz) || rateHz < 1) {
        throw new RangeError(`sample rates are whole and positive, not ${rateHz}`);
      }
    }
    const common = greatestCommonDivisor(inHz, outHz);
    this.#up = outHz / common;
    this.#down = inHz / common;
    const half = inHz === outHz ? 0 : Math.ceil((CROSSINGS * Math.max(inHz, outHz)) / outHz);
    this.#taps = Math.max(2 * half, 1);
    this.#table = half ? filter(this.#up, half, (CUTOFF / 2) * Math.min(1, outHz / inHz)) : Float32Array.of(1);
    /** What the filter adds, in samples of the input. */
    this.delaySamples = half;
    // The past before the stream was silence; room for one block more than the past.
    this.#waiting = new Float32Array(2 * this.#taps + most + Math.ceil(inHz / outHz));
    this.#count = this.#taps - 1;
    this.#newest = this.#taps - 1;
  }

  /** Outputs that can be made of what was fed. */
  get available() {
    const inputs = this.#count - this.#newest;
    return inputs > 0 ? Math.floor((inputs * this.#up - 1 - this.#phase) / this.#down) + 1 : 0;
  }

  /**
   * How many samples must be fed before `count` outputs can be made.
   * @param {number} count at least 1
   */
  needed(count) {
    const newest = this.#newest + Math.floor((this.#phase + (count - 1) * this.#down) / this.#up);
    return Math.max(newest + 1 - this.#count, 0);
  }

  /**
   * Take more of the input.
   * @param {Float32Array} samples
   * @param {number} count the first so many of them
   */
  feed(samples, count) {
    if (this.#count + count > this.#waiting.length) {
      this.#forget();
    }
    if (this.#count + count > this.#waiting.length) {
      throw new RangeError("make the outputs before more is fed");
    }
    for (let i = 0; i < count; i++) {
      this.#waiting[this.#count + i] = samples[i];
    }
    this.#count += count;
  }

  /**
   * Make outputs, into `out` from index `at` on.
   * @param {Float32Array} out
   * @param {number} at
   * @param {number} count no more than `available`
   */
  produce(out, at, count) {
    const taps = this.#taps;
    const table = this.#table;
    const waiting = this.#waiting;
    for (let k = 0; k < count; k++) {
      const row = this.#phase * taps;
      const first = this.#newest - taps + 1;
      let sum = 0;
      for (let j = 0; j < taps; j++) {
        sum += table[row + j] * waiting[first + j];
      }
      out[at + k] = sum;
      this.#phase += this.#down;
      while (this.#phase >= this.#up) {
        this.#phase -= this.#up;
        this.#newest += 1;
      }
    }
  }

  /** Drop what no output needs any more. */
  #forget() {
    const first = Math.min(this.#newest - this.#taps + 1, this.#count);
    this.#waiting.copyWithin(0, first, this.#count);
    this.#count -= first;
    this.#newest -= first;
  }
}

/**
 * Rows of the filter, one for each place between two input samples; each row adds up to 1.
 * @param {number} up
 * @param {number} half input samples on either side of the middle
 * @param {number} cutoff in cycles per input sample
 */
function filter(up, half, cutoff) {
  const taps = 2 * half;
  const table = new Float32Array(up * taps);
  const row = new Float64Array(taps);
  for (let phase = 0; phase < up; phase++) {
    let sum = 0;
    for (let j = 0; j < taps; j++) {
      const u = phase / up + half - 1 - j; // from the middle of the filter to the input sample
      row[j] = sinc(2 * cutoff * u) * kaiser(u / half);
      sum += row[j];
    }
    for (let j = 0; j < taps; j++) {
      table[phase * taps + j] = row[j] / sum;
    }
  }
  return table;
}

/** @param {number} x */
function sinc(x) {
  return x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);
}

/** @param {number} x from the middle, -1 ... 1 */
function kaiser(x) {
  return Math.abs(x) >= 1 ? 0 : bessel(BETA * Math.sqrt(1 - x * x)) / bessel(BETA);
}

/**
 * The modified Bessel function of the first kind, order 0.
 * @param {number} x
 */
function bessel(x) {
  let sum = 1;
  for (let k = 1, term = 1; term > 1e-12 * sum; k++) {
    term *= (x / (2 * k)) ** 2;
    sum += term;
  }
  return sum;
}

/**
 * @param {number} a
 * @param {number} b
 * @returns {number}
 */
function greatestCommonDivisor(a, b) {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}
