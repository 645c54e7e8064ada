// @ts-check
/** The words of a text, each of which lights up while it is spoken. */

/** @typedef {{text: string, start_ms: number, end_ms: number}} Word */

/**
 * Which words are past, and which is being spoken.
 * @param {Word[]} words in order
 * @param {number} nowMs
 * @returns {{spoken: number, now: number}} how many have begun; index of the one that has not ended, or -1
 */
export function heardAt(words, nowMs) {
  let spoken = 0;
  while (spoken < words.length && words[spoken].start_ms <= nowMs) {
    spoken += 1;
  }
  return { spoken, now: spoken && words[spoken - 1].end_ms > nowMs ? spoken - 1 : -1 };
}

export class Words {
  #place;
  /** @type {Word[]} */
  #words = [];

  /** @param {HTMLElement} place */
  constructor(place) {
    this.#place = place;
  }

  clear() {
    this.#words = [];
    this.#place.replaceChildren();
    this.#place.hidden = true;
  }

  /** @param {Word[]} words */
  add(words) {
    for (const word of words) {
      const span = document.createElement("span");
      span.textContent = word.text;
      this.#place.append(span, " ");
    }
    this.#words.push(...words);
    this.#place.hidden = this.#words.length === 0;
  }

  /** @param {number} playedMs of the generation */
  light(playedMs) {
    const { spoken, now } = heardAt(this.#words, playedMs);
    for (let i = 0; i < this.#words.length; i++) {
      const { classList } = this.#place.children[i];
      classList.toggle("spoken", i < spoken);
      classList.toggle("now", i === now);
    }
  }
}
