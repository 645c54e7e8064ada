// @ts-check
/**
 * What is heard next: a buffer between a network, which is late now and then, and a sound card, which never is.
 *
 * - It starts on one frame plus a small reserve. Where it runs dry inside of a segment the reserve grows by about as much as the
 *   sound was late; while all is calm it shrinks again.
 * - Live sound that has piled up behind a stall is caught up with, a pitch period or so at a time.
 * - It fades only where the sound really breaks off: where it ran dry, where some is missing, at a cancel.
 * - A cancelled generation is silent within `FADE_MS`.
 *
 * Its clock is the samples that are asked of it. For one thread; `pull` allocates nothing.
 */
import { Ring } from "./ring.js";
import { bestLag, leaveOut } from "./splice.js";
import { Timeline } from "./timeline.js";

const CAPACITY_S = 10;
/** Of everything that breaks off, and of what follows a gap. */
export const FADE_MS = 3;
const LEAST_RESERVE_MS = 10;
const MOST_RESERVE_MS = 80;
const LEAST_GROWTH_MS = 5;
const MOST_GROWTH_MS = 20;
const CALM_S = 10;
const SHRINK_MS = 5;
/** How long more than the reserve must have been there all the time before some of it is skipped. */
const WINDOW_S = 2;
const MARGIN_MS = 5;
const LEAST_SKIP_MS = 2.5;
const MOST_SKIP_MS = 12;
const OVERLAP_MS = 4;
const BETWEEN_SKIPS_MS = 30;

export class Playout {
  #ring;
  #rateHz;
  #frame;
  #live;
  /** Samples of a fade. */
  #fade;
  /** What is played before anything else: the end of what broke off. */
  #tail;
  #tailAt;
  #fadeIn = 0;
  #playing = false;
  /** Samples to wait until the start; < 0: there is not enough to start with yet. */
  #countdown = -1;
  #last = 0;
  #timeline = new Timeline();
  /** Time at which the sound ends, so that running dry there is no underrun. */
  #end = -1;
  /** Samples since it ran dry inside of a segment; < 0: it did not. */
  #dry = -1;
  #reserve;
  #calm = 0;
  #window = 0;
  #lowest = Infinity;
  #excess = 0;
  #sinceSkip = 0;

  /**
   * @param {object} options
   * @param {number} options.rateHz of the sound
   * @param {number} options.frameSamples what comes at once
   * @param {boolean} options.live whether sound that has piled up is late
   */
  constructor({ rateHz, frameSamples, live }) {
    this.#ring = new Ring(CAPACITY_S * rateHz);
    this.#rateHz = rateHz;
    this.#frame = frameSamples;
    this.#live = live;
    this.#fade = this.#samples(FADE_MS);
    this.#tail = new Float32Array(this.#fade);
    this.#tailAt = this.#fade;
    this.#reserve = this.#samples(LEAST_RESERVE_MS);
    /** Times that it ran dry inside of a segment. */
    this.underruns = 0;
    /** Samples that were skipped to catch up. */
    this.skipped = 0;
    /** Samples that there was no room for: the sender disregards its credit. */
    this.overflowed = 0;
  }

  /** Samples that wait. */
  get buffered() {
    return this.#ring.size;
  }

  /** Samples that it waits for beyond one frame. */
  get reserve() {
    return this.#reserve;
  }

  /** Whether there is sound now. */
  get playing() {
    return this.#playing;
  }

  /** Time, in samples of the generation, of what is next to be heard. */
  get time() {
    return this.#timeline.timeOf(this.#ring.read);
  }

  /**
   * Take more of the sound.
   * @param {Float32Array} samples
   * @param {number} time of the first, in samples of the generation
   */
  push(samples, time) {
    if (samples.length === 0) {
      return;
    }
    const ring = this.#ring;
    const timeline = this.#timeline;
    if (this.#end >= 0 && time >= this.#end) {
      this.#end = -1; // another segment
    }
    const isGap = time !== timeline.timeOfNext(ring.written);
    const waits = ring.size > 0;
    if (isGap && waits) {
      timeline.jump(ring.written, time);
      this.#fadeEnd();
    } else if (isGap) {
      timeline.set(ring.written, time);
      this.#fadeIn = time === 0 ? 0 : this.#fade;
    }
    this.overflowed += samples.length - this.#write(samples, isGap && waits ? this.#fade : 0);
    this.#consider();
  }

  /**
   * Say that the sound ends, for now or for good.
   * @param {number} time in samples of the generation
   */
  endsAt(time) {
    this.#end = time;
    if (this.#dry >= 0 && this.#isEnd()) {
      this.underruns -= 1; // it was none: we are told only now
      this.#dry = -1;
    }
    this.#consider();
  }

  /** Forget what waits: another generation begins, at time 0. What is being played fades within `FADE_MS`. */
  restart() {
    if (this.#playing) {
      this.#beginTail();
    }
    this.#ring.clear();
    this.#timeline.set(this.#ring.written, 0);
    this.#playing = false;
    this.#countdown = -1;
    this.#fadeIn = 0;
    this.#end = -1;
    this.#dry = -1;
    this.#quiet();
  }

  /**
   * The next `count` samples: sound where there is some, else silence.
   * @param {Float32Array} out
   * @param {number} count
   */
  pull(out, count) {
    let at = 0;
    while (at < count) {
      if (this.#tailAt < this.#fade) {
        out[at++] = this.#tail[this.#tailAt++];
        this.#pass(1);
      } else if (this.#playing) {
        at = this.#play(out, at, count);
      } else {
        at = this.#wait(out, at, count);
      }
    }
  }

  // ---- playing -------------------------------------------------------------------------------------------------------

  /**
   * @param {Float32Array} out
   * @param {number} at
   * @param {number} count
   */
  #play(out, at, count) {
    const ring = this.#ring;
    this.#sinceSkip += count - at;
    if (this.#excess > 0) {
      this.#catchUp();
    }
    const n = ring.readInto(out, at, count - at);
    for (let i = 0; i < n && this.#fadeIn > 0; i++, this.#fadeIn--) {
      out[at + i] *= this.#gain(this.#fadeIn);
    }
    if (n > 0) {
      this.#last = out[at + n - 1];
    }
    this.#watch(n);
    if (at + n < count) {
      this.#runDry();
    }
    return at + n;
  }

  /** There is nothing to play. */
  #runDry() {
    this.#beginTail();
    this.#playing = false;
    this.#countdown = -1;
    this.#fadeIn = this.#fade;
    this.#quiet();
    if (!this.#isEnd()) {
      this.underruns += 1;
      this.#dry = 0;
      this.#calm = 0;
    }
  }

  /**
   * @param {Float32Array} out
   * @param {number} at
   * @param {number} count
   */
  #wait(out, at, count) {
    let n = count - at;
    if (this.#countdown >= 0) {
      n = Math.min(n, this.#countdown);
      this.#countdown -= n;
      this.#playing = this.#countdown === 0;
    }
    for (let i = 0; i < n; i++) {
      out[at + i] = 0;
    }
    this.#pass(n);
    return at + n;
  }

  /** @param {number} n samples that were no sound */
  #pass(n) {
    if (this.#dry >= 0) {
      this.#dry += n;
    }
  }

  /** Whether to start: on one frame, and the reserve later; or at once on the end of the sound. */
  #consider() {
    const ring = this.#ring;
    if (this.#playing || this.#countdown >= 0 || ring.size === 0) {
      return;
    }
    const isAll = this.#end >= 0 && this.#timeline.timeOfNext(ring.written) >= this.#end;
    if (ring.size >= this.#frame || isAll) {
      if (this.#dry >= 0) {
        this.#grow();
      }
      this.#countdown = this.#reserve;
    }
  }

  #isEnd() {
    return this.#end >= 0 && Math.abs(this.time - this.#end) <= this.#frame;
  }

  // ---- the reserve ---------------------------------------------------------------------------------------------------

  /** It ran dry: keep about as much more as the sound was late. */
  #grow() {
    const late = Math.min(Math.max(this.#dry, this.#samples(LEAST_GROWTH_MS)), this.#samples(MOST_GROWTH_MS));
    this.#reserve = Math.min(this.#reserve + late, this.#samples(MOST_RESERVE_MS));
    this.#dry = -1;
  }

  /**
   * Note how little there was to play: if nothing happens, less of a reserve will do, and live sound may be skipped.
   * @param {number} n samples that were played
   */
  #watch(n) {
    this.#calm += n;
    if (this.#calm >= CALM_S * this.#rateHz) {
      this.#calm = 0;
      this.#reserve = Math.max(this.#reserve - this.#samples(SHRINK_MS), this.#samples(LEAST_RESERVE_MS));
    }
    this.#lowest = Math.min(this.#lowest, this.#ring.size);
    this.#window += n;
    if (this.#window >= WINDOW_S * this.#rateHz) {
      const surplus = this.#lowest - this.#reserve - this.#samples(MARGIN_MS);
      this.#excess = this.#live && surplus >= this.#samples(LEAST_SKIP_MS) ? surplus : 0;
      this.#window = 0;
      this.#lowest = Infinity;
    }
  }

  #quiet() {
    this.#window = 0;
    this.#lowest = Infinity;
    this.#excess = 0;
  }

  /** Leave out a few milliseconds where the sound resembles itself most; one runs into the other. */
  #catchUp() {
    const ring = this.#ring;
    const overlap = this.#samples(OVERLAP_MS);
    const least = this.#samples(LEAST_SKIP_MS);
    const most = Math.min(this.#samples(MOST_SKIP_MS), Math.floor(this.#excess));
    if (this.#sinceSkip < this.#samples(BETWEEN_SKIPS_MS) || this.#timeline.jumps || this.#fadeIn > 0) {
      return;
    }
    if (most < least) {
      this.#excess = 0;
      return;
    }
    if (ring.size < overlap + most) {
      return;
    }
    const lag = bestLag(ring, least, most, overlap);
    leaveOut(ring, lag, overlap);
    this.skipped += lag;
    this.#excess -= lag;
    this.#sinceSkip = 0;
  }

  // ---- gaps ----------------------------------------------------------------------------------------------------------

  /** Let what is playing end softly: what was to follow, or the last sample, fades. */
  #beginTail() {
    const left = Math.min(this.#ring.size, this.#fade);
    const risen = this.#fadeIn > 0 ? this.#gain(this.#fadeIn) : 1;
    let sample = this.#last;
    for (let i = 0; i < this.#fade; i++) {
      sample = i < left ? this.#ring.peek(i) * risen : sample;
      this.#tail[i] = sample * this.#gain(i + 1);
    }
    this.#tailAt = 0;
    this.#last = 0;
  }

  /** The newest samples that wait fade: something is missing after them. */
  #fadeEnd() {
    const ring = this.#ring;
    const n = Math.min(this.#fade, ring.size);
    for (let i = 0; i < n; i++) {
      const index = ring.size - 1 - i;
      ring.poke(index, ring.peek(index) * this.#gain(n - i));
    }
  }

  /**
   * From 1 at 0 to 0 behind the last step of a fade.
   * @param {number} step 0 ... `#fade`
   */
  #gain(step) {
    return 0.5 + 0.5 * Math.cos((Math.PI * step) / (this.#fade + 1));
  }

  /**
   * @param {Float32Array} samples
   * @param {number} fadeIn samples of them that rise from silence
   * @returns {number} how many there was room for
   */
  #write(samples, fadeIn) {
    const ring = this.#ring;
    const before = ring.size;
    const n = ring.write(samples);
    for (let i = 0; i < Math.min(fadeIn, n); i++) {
      ring.poke(before + i, ring.peek(before + i) * this.#gain(fadeIn - i));
    }
    return n;
  }

  /** @param {number} ms */
  #samples(ms) {
    return Math.round((ms * this.#rateHz) / 1000);
  }
}
