// @ts-check
/** Bitrate and packet loss: what the dials say, and what they ask of the server. They work while somebody talks. */
import { by, plural } from "./dom.js";
import { bitrate } from "./readout.js";

export class Dials {
  #books = /** @type {HTMLInputElement} */ (by("books"));
  #loss = /** @type {HTMLInputElement} */ (by("loss"));
  #burst = /** @type {HTMLInputElement} */ (by("burst"));
  /** @type {Record<string, any> | null} */
  #codec = null;

  /** @param {(wishes: Record<string, number>) => void} turned what of `start` another position changes */
  constructor(turned) {
    this.#books.oninput = () => {
      this.#show();
      turned({ books: this.books });
    };
    this.#loss.oninput = this.#burst.oninput = () => {
      this.#show();
      turned(this.#wire());
    };
  }

  /** @param {Record<string, any>} codec of the server's hello */
  begin(codec) {
    this.#codec = codec;
    this.#books.max = this.#books.value = String(codec.books);
    this.#show();
  }

  get books() {
    return Number(this.#books.value);
  }

  /** @param {number} books what is not on the dial is no wish */
  choose(books) {
    if (books >= 1 && books <= Number(this.#books.max)) {
      this.#books.value = String(books);
      this.#books.dispatchEvent(new Event("input"));
    }
  }

  /** Fields of `start`. */
  get wishes() {
    return { books: this.books, ...this.#wire() };
  }

  /** So much loss needs bursts of some length. */
  #wire() {
    const loss = Number(this.#loss.value) / 100;
    return { loss, burst: Math.max(Number(this.#burst.value), loss / (1 - loss), 1) };
  }

  #show() {
    if (this.#codec === null) {
      return;
    }
    const lines = /** @type {const} */ ([
      [this.#books, `${bitrate(this.#codec, this.books)} bit/s · ${plural(this.books, "book")}`],
      [this.#loss, this.#loss.value === "0" ? "none" : `${this.#loss.value} %`],
      [this.#burst, plural(Number(this.#burst.value), "packet")],
    ]);
    for (const [dial, line] of lines) {
      by(`${dial.id}-value`).textContent = line;
      dial.setAttribute("aria-valuetext", line);
    }
  }
}
