// SPDX-License-Identifier: Apache-2.0
// The licence as the hub said last: one answer for the line on every page and for the page about it.

import { call, inWords } from '../api/client';
import type { Licence } from '../api/types';

const everyMs = 15_000;

class LicenceNow {
  answer = $state.raw<Licence | null>(null);
  problem = $state('');
  #timer: ReturnType<typeof setInterval> | undefined;
  #asked = 0;

  start() {
    if (this.#timer) return;
    this.#timer = setInterval(() => {
      if (!document.hidden) void this.ask();
    }, everyMs);
    void this.ask();
  }

  stop() {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#asked++; // what is under way is of one who has left
    this.answer = null;
    this.problem = '';
  }

  /** An answer that was overtaken by a later question is dropped. */
  async ask() {
    const mine = ++this.#asked;
    try {
      const answer = await call('getLicence');
      if (mine === this.#asked) this.take(answer);
    } catch (cause) {
      if (mine === this.#asked) this.problem = inWords(cause);
    }
  }

  /** What an installation answered. */
  take(answer: Licence) {
    this.#asked++;
    this.answer = answer;
    this.problem = '';
  }
}

export const licenceNow = new LicenceNow();
