// @ts-check
/** What the server can do, asked before anybody talks: its hello, and the line hung up again. */
import { Session } from "./session.js";
import { Link } from "./socket.js";
import { WireError } from "./wire.js";

/**
 * @typedef {{hello: Record<string, any>} | {error: {code: string, message: string, retry_ms?: number}}} Greeting
 */

/**
 * @param {string} url
 * @param {string | null} token
 * @returns {Promise<Greeting>} code "gone": there was no answer
 */
export function greet(url, token) {
  return new Promise((resolve) => {
    const session = new Session();
    const link = new Link(url, token, {
      closed: () => resolve({ error: { code: "gone", message: "the server does not answer" } }),
      message: (message) => {
        try {
          for (const event of session.receive(message)) {
            const { type, code, message: line, retry_ms } = /** @type {any} */ (event);
            if (type === "hello") {
              session.end();
              link.send(session.drain());
              link.close();
              resolve({ hello: event });
            } else if (type === "error") {
              link.close();
              resolve({ error: { code, message: line, retry_ms } });
            }
          }
        } catch (error) {
          const line = error instanceof WireError ? error.message : String(error);
          link.close();
          resolve({ error: { code: "bad_message", message: line } });
        }
      },
    });
  });
}
