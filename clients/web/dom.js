// @ts-check
/** The elements of the page. */

/**
 * The element with an id that the page has.
 * @template {HTMLElement} [T=HTMLElement]
 * @param {string} id
 * @returns {T}
 */
export function by(id) {
  return /** @type {T} */ (document.getElementById(id));
}

/**
 * What is chosen of a group of radio buttons.
 * @param {string} name
 */
export function radio(name) {
  return /** @type {HTMLInputElement} */ (document.querySelector(`input[name="${name}"]:checked`)).value;
}

/**
 * "1 book", "2 books".
 * @param {number} n
 * @param {string} word
 */
export function plural(n, word) {
  return `${n} ${word}${n === 1 ? "" : "s"}`;
}
