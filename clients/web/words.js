// @ts-check
/** The words of a text, each of which lights up while it is spoken. */

const MOST_LAST_WORDS = 12;

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

/**
 * Where somebody was in a text: the end of what was heard, as long as people keep in mind.
 * @param {string} heard words with a space between
 */
export function lastWords(heard) {
  const words = heard.split(" ");
  return words.length > MOST_LAST_WORDS ? `… ${words.slice(-MOST_LAST_WORDS).join(" ")}` : heard;
}

export class Words {
  #place;
  /** @type {Word[]} */
  #words = [];
  /** How many had begun when they were lit. */
  #spoken = 0;

  /** @param {HTMLElement} place */
  constructor(place) {
    this.#place = place;
  }

  clear() {
    this.#words = [];
    this.#spoken = 0;
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
    const [first, last] = [this.#spoken, spoken].sort((a, b) => a - b);
    for (let i = Math.max(first - 1, 0); i < last; i++) {
      const { classList } = this.#place.children[i]; // all others are as they were
      classList.toggle("spoken", i < spoken);
      classList.toggle("now", i === now);
    }
    if (now >= 0 && spoken !== this.#spoken) {
      this.#follow(/** @type {HTMLElement} */ (this.#place.children[now]));
    }
    this.#spoken = spoken;
  }

  /** @param {HTMLElement} word is to be seen, where the text is longer than its place; the page stays where it is */
  #follow(word) {
    const below = word.offsetTop + word.offsetHeight - this.#place.clientHeight;
    if (this.#place.scrollTop < below || this.#place.scrollTop > word.offsetTop) {
      this.#place.scrollTop = word.offsetTop - (this.#place.clientHeight - word.offsetHeight) / 2;
    }
  }
}
