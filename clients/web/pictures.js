// @ts-check
/** What sound looks like: mel as a spectrogram, codes as a mosaic, both running on one axis of time. */

/** From silence to loud. */
const RAMPS = {
  dark: ["#12161c", "#1c2440", "#43306e", "#8b3a78", "#d4556a", "#f2935c", "#f8cf7c", "#fdf6d8"],
  light: ["#f8f3ea", "#f1e2c9", "#ecc79a", "#dd9468", "#bb5a5c", "#843663", "#482457", "#1d1233"],
};
/** Bytes of mel, half decibels above -100 dB, that the ramp begins and ends with: -80 ... +10 dB. */
const DARKEST = 40;
const BRIGHTEST = 220;
/** Spreads the numbers of codes over the ramp, neighbours far apart: codes have no order. */
const GOLDEN = 0.618034;
const ABSENT = -1;

/**
 * @param {"dark" | "light"} theme
 * @returns {Uint32Array} 256 colours as canvas pixels
 */
export function ramp(theme) {
  const stops = RAMPS[theme].map((hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16)));
  const pixels = new Uint8ClampedArray(4 * 256);
  for (let i = 0; i < 256; i++) {
    const place = (i / 255) * (stops.length - 1);
    const stop = Math.min(Math.floor(place), stops.length - 2);
    for (let channel = 0; channel < 3; channel++) {
      const [a, b] = [stops[stop][channel], stops[stop + 1][channel]];
      pixels[4 * i + channel] = a + (b - a) * (place - stop);
    }
    pixels[4 * i + 3] = 255;
  }
  return new Uint32Array(pixels.buffer);
}

/**
 * Which of the ramp's 256 colours a byte of mel has.
 * @param {number} byte
 */
export function melColour(byte) {
  const share = (byte - DARKEST) / (BRIGHTEST - DARKEST);
  return Math.round(255 * Math.min(Math.max(share, 0), 1));
}

/**
 * Which of them a code has; the quietest is for codes that are absent.
 * @param {number} code
 */
export function codeColour(code) {
  return code === ABSENT ? 0 : 72 + Math.round(170 * ((code * GOLDEN) % 1));
}

/**
 * A picture that runs: columns of colours, numbered in time, the newest of which are kept.
 * Knows no canvas, so that it can be tested; `Strip` shows it.
 */
export class Columns {
  /**
   * @param {number} rows
   * @param {number} columns to keep
   */
  constructor(rows, columns) {
    this.rows = rows;
    this.columns = columns;
    /** Colours, one row of the picture after the other; column `c` is at `c % columns`. */
    this.colours = new Uint8Array(rows * columns);
    /** Number of the newest column; -1: there is none. */
    this.newest = -1;
  }

  /** Forget everything. */
  clear() {
    this.colours.fill(0);
    this.newest = -1;
  }

  /**
   * @param {number} column
   * @param {(row: number) => number} colour row 0 is the top
   * @returns {boolean} whether it was new
   */
  put(column, colour) {
    if (column <= this.newest) {
      return false; // what is late has no place any more
    }
    for (let missing = Math.max(this.newest + 1, column - this.columns + 1); missing < column; missing++) {
      this.#fill(missing, () => 0);
    }
    this.#fill(column, colour);
    this.newest = column;
    return true;
  }

  /**
   * @param {number} column
   * @param {(row: number) => number} colour
   */
  #fill(column, colour) {
    const place = column % this.columns;
    for (let row = 0; row < this.rows; row++) {
      this.colours[row * this.columns + place] = colour(row);
    }
  }
}

/** A running picture on a canvas. */
export class Strip {
  #canvas;
  #context;
  #columns;
  /** The picture itself, a pixel for each colour; drawn larger. */
  #image;
  #pixels;
  #backing;
  #colours;

  /**
   * @param {HTMLCanvasElement} canvas
   * @param {Columns} columns
   * @param {Uint32Array} colours see `ramp`
   */
  constructor(canvas, columns, colours) {
    this.#canvas = canvas;
    this.#context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d", { alpha: false }));
    this.#columns = columns;
    this.#colours = colours;
    this.#backing = document.createElement("canvas");
    this.#backing.width = columns.columns;
    this.#backing.height = columns.rows;
    this.#image = new ImageData(columns.columns, columns.rows);
    this.#pixels = new Uint32Array(this.#image.data.buffer);
  }

  get columns() {
    return this.#columns;
  }

  /** @param {Uint32Array} colours of another theme */
  recolour(colours) {
    this.#colours = colours;
  }

  /**
   * Draw it.
   * @param {number} head column at the right edge; may lie between two
   * @param {boolean} still do not move the picture: the newest column wanders over it instead
   */
  draw(head, still) {
    const { colours, columns, newest } = this.#columns;
    for (let i = 0; i < colours.length; i++) {
      this.#pixels[i] = this.#colours[colours[i]];
    }
    /** @type {CanvasRenderingContext2D} */ (this.#backing.getContext("2d")).putImageData(this.#image, 0, 0);
    const canvas = this.#canvas;
    const width = Math.max(Math.round(canvas.clientWidth * devicePixelRatio), 1);
    const height = Math.max(Math.round(canvas.clientHeight * devicePixelRatio), 1);
    if (canvas.width !== width || canvas.height !== height) {
      canvas.width = width;
      canvas.height = height;
    }
    const context = this.#context;
    context.imageSmoothingEnabled = false;
    if (still) {
      context.drawImage(this.#backing, 0, 0, width, height);
      context.fillStyle = css(this.#colours[160]);
      context.fillRect((((newest + 1) % columns) / columns) * width, 0, 2 * devicePixelRatio, height);
      return;
    }
    context.fillStyle = css(this.#colours[0]);
    context.fillRect(0, 0, width, height);
    if (newest < 0) {
      return;
    }
    const per = width / columns;
    const oldest = Math.max(newest - columns + 1, 0);
    for (let from = oldest; from <= newest;) {
      const place = from % columns;
      const count = Math.min(columns - place, newest - from + 1);
      const x = width - (head + 1 - from) * per;
      context.drawImage(this.#backing, place, 0, count, this.#columns.rows, x, 0, count * per, height);
      from += count;
    }
  }
}

/** @param {number} pixel */
function css(pixel) {
  return `rgb(${pixel & 255} ${(pixel >> 8) & 255} ${(pixel >> 16) & 255})`;
}
