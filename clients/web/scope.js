// @ts-check
/** The three pictures of a conversation: the mel that came in, the codes between, the mel that went out. */
import { Columns, Strip, codeColour, melColour, ramp } from "./pictures.js";
import { Kind } from "./wire.js";

const SECONDS = 6;
/** A picture that has got so far away from the time at which it came is moved there: something was left out, or stood still. */
const MOST_ASTRAY_S = 0.4;

export class Scope {
  /** @type {Map<number, Strip>} */
  #strips = new Map();
  #codec;
  #perS;
  /** When column 0 was, in ms; the pictures run on until `stop`. */
  #began = 0;
  #isRunning = false;
  #stoppedAt = 0;
  /** By kind: from the stage's count of columns to ours. @type {Map<number, number>} */
  #offsets = new Map();
  #still = window.matchMedia("(prefers-reduced-motion: reduce)");
  #dark = window.matchMedia("(prefers-color-scheme: dark)");
  #changed = true;

  /**
   * @param {{in: HTMLCanvasElement, codes: HTMLCanvasElement, out: HTMLCanvasElement}} canvases
   * @param {Record<string, any>} codec of the server's hello
   */
  constructor(canvases, codec) {
    this.#codec = codec;
    this.#perS = (1000 * codec.mels_per_frame) / codec.frame_ms;
    const columns = Math.round(SECONDS * this.#perS);
    const strip = (/** @type {HTMLCanvasElement} */ canvas, /** @type {number} */ rows) =>
      new Strip(canvas, new Columns(rows, columns), this.#colours());
    this.#strips.set(Kind.MEL_IN, strip(canvases.in, codec.n_mels));
    this.#strips.set(Kind.CODES_HEARD, strip(canvases.codes, codec.books));
    this.#strips.set(Kind.MEL_OUT, strip(canvases.out, codec.n_mels));
    this.#dark.addEventListener("change", () => {
      this.#strips.forEach((each) => each.recolour(this.#colours()));
      this.#changed = true;
    });
    new ResizeObserver(() => (this.#changed = true)).observe(canvases.codes);
    const draw = () => {
      this.#draw();
      requestAnimationFrame(draw);
    };
    requestAnimationFrame(draw);
  }

  /** Number of the newest column, by picture; -1: there is none. */
  get newest() {
    return [...this.#strips.values()].map((strip) => strip.columns.newest);
  }

  /** Begin anew, and run. */
  start() {
    this.#strips.forEach((strip) => strip.columns.clear());
    this.#offsets.clear();
    this.#began = performance.now() - SECONDS * 1000;
    this.#isRunning = true;
  }

  /** Stand still. */
  stop() {
    this.#isRunning = false;
  }

  /** @param {import("./session.js").Picture} picture */
  show(picture) {
    const strip = this.#strips.get(picture.kind);
    const { n_mels: bands, books, mels_per_frame: mels, frame_samples: frame } = this.#codec;
    const { count, payload } = picture;
    const isCodes = picture.kind === Kind.CODES_HEARD;
    const bytes = count * (isCodes ? 2 * books : bands);
    if (!strip || payload.length !== bytes) {
      return;
    }
    const first = this.#place(picture.kind, Math.round((picture.time * mels) / frame));
    if (isCodes) {
      const view = new DataView(payload.buffer, payload.byteOffset, payload.length);
      for (let column = 0; column < count * mels; column++) {
        const at = Math.floor(column / mels) * books;
        strip.columns.put(first + column, (row) => codeColour(view.getInt16(2 * (at + row), true)));
      }
    } else {
      for (let column = 0; column < count; column++) {
        const top = column * bands + bands - 1;
        strip.columns.put(first + column, (row) => melColour(payload[top - row]));
      }
    }
    this.#changed = true;
  }

  #colours() {
    return ramp(this.#dark.matches ? "dark" : "light");
  }

  /** Column at the right edge now. */
  #head() {
    return ((performance.now() - this.#began) / 1000) * this.#perS;
  }

  /**
   * Where a picture belongs: in line with what came before, near the time at which it came.
   * @param {number} kind
   * @param {number} column as the stage counts
   */
  #place(kind, column) {
    const head = Math.round(this.#head());
    const offset = this.#offsets.get(kind);
    if (offset === undefined || Math.abs(column + offset - head) > MOST_ASTRAY_S * this.#perS) {
      this.#offsets.set(kind, head - column);
      return head;
    }
    return column + offset;
  }

  #draw() {
    if (this.#isRunning || this.#changed) {
      this.#changed = false;
      const head = Math.max(this.#head(), ...this.newest);
      const at = this.#isRunning ? head : this.#stoppedAt;
      this.#stoppedAt = at;
      this.#strips.forEach((strip) => strip.draw(at, this.#still.matches));
    }
  }
}
