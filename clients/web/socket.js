// @ts-check
/** A WebSocket to the server: opened with a token that no URL ever sees, and how long to wait before the next attempt. */
import { PATH, PROTOCOL } from "./wire.js";

/** What a token may look like; the server has the same rule. */
const TOKEN = /^[A-Za-z0-9._~+-]{8,200}$/;
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 10_000;

/** @param {string} token */
export function isToken(token) {
  return TOKEN.test(token);
}

/**
 * Where the server's socket is, for a page that came from it.
 * @param {{protocol: string, host: string}} location of the page
 */
export function address(location) {
  return `${location.protocol === "https:" ? "wss:" : "ws:"}//${location.host}${PATH}`;
}

/**
 * The sub-protocols to offer: ours and, where there is a token, the one that carries it.
 * @param {string | null} token
 */
export function offers(token) {
  return token ? [PROTOCOL, `bearer.${token}`] : [PROTOCOL];
}

/**
 * @typedef {object} Listener
 * @property {(message: string | ArrayBuffer) => void} message
 * @property {() => void} closed by the server, or lost, or never opened; once
 */

/** One connection. */
export class Link {
  #socket;
  #closed = false;

  /**
   * @param {string} url
   * @param {string | null} token
   * @param {Listener} listener
   */
  constructor(url, token, listener) {
    const socket = new WebSocket(url, offers(token));
    socket.binaryType = "arraybuffer";
    socket.onmessage = (event) => this.#closed || listener.message(event.data);
    socket.onclose = () => {
      if (!this.#closed) {
        this.#closed = true;
        listener.closed();
      }
    };
    this.#socket = socket;
  }

  /** Bytes that wait for the line. */
  get waitingBytes() {
    return this.#socket.bufferedAmount;
  }

  /** @param {(string | Uint8Array<ArrayBuffer>)[]} messages */
  send(messages) {
    if (this.#socket.readyState === WebSocket.OPEN) {
      for (const message of messages) {
        this.#socket.send(message);
      }
    }
  }

  /** Hang up; nothing is told any more. */
  close() {
    this.#closed = true;
    this.#socket.close(1000);
  }
}

/** How long to wait before the next attempt: twice as long each time, and never quite as long as everybody else. */
export class Backoff {
  #attempt = 0;
  #random;

  /** @param {() => number} random 0 ... 1 */
  constructor(random = Math.random) {
    this.#random = random;
  }

  /**
   * @param {number} [leastMs] as the server says
   * @returns {number} milliseconds
   */
  next(leastMs = 0) {
    const pauseMs = Math.min(FIRST_PAUSE_MS * 2 ** this.#attempt, LONGEST_PAUSE_MS);
    this.#attempt += 1;
    return Math.max(leastMs, pauseMs * (0.75 + 0.25 * this.#random()));
  }

  /** It worked. */
  reset() {
    this.#attempt = 0;
  }
}
