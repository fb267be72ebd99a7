// SPDX-License-Identifier: Apache-2.0
// A question to the hub that is asked again when what it depends on changes, and from time to time
// while the page is live. The last answer stays on show until the next one is there; an answer that
// was overtaken is dropped.

import { inWords, Refusal } from '../api/client';

/** What the hub says about the filter, shown under the filter and not on each panel. */
export const filterProblem = $state({ text: '' });

export class Asking<T> {
  answer = $state.raw<T | null>(null);
  problem = $state('');
  busy = $state(false);
  #abort: AbortController | null = null;

  /** Ask now; a question still under way is given up. */
  async ask(question: (signal: AbortSignal) => Promise<T>): Promise<void> {
    this.#abort?.abort();
    const abort = new AbortController();
    this.#abort = abort;
    this.busy = true;
    try {
      const answer = await question(abort.signal);
      if (abort.signal.aborted) return;
      this.answer = answer;
      this.problem = '';
      filterProblem.text = '';
    } catch (cause) {
      if (abort.signal.aborted) return;
      const aboutFilter = cause instanceof Refusal && cause.field === 'filter';
      if (aboutFilter) filterProblem.text = inWords(cause);
      this.problem = aboutFilter ? 'The filter above cannot be used.' : inWords(cause);
    } finally {
      if (this.#abort === abort) this.busy = false;
    }
  }

  stop() {
    this.#abort?.abort();
  }
}

/**
 * In a component: ask, again when `question` reads something that changed, and every `everyMs` (0:
 * no) while the page can be seen. `question` is run in an effect; what it reads is what counts.
 */
export function asking<T>(
  question: () => ((signal: AbortSignal) => Promise<T>) | null,
  everyMs: () => number = () => 0,
): Asking<T> {
  const state = new Asking<T>();
  $effect(() => {
    const now = question();
    if (!now) return;
    void state.ask(now);
    const every = everyMs();
    if (!every) return () => state.stop();
    const timer = setInterval(() => {
      if (!document.hidden && !state.busy) void state.ask(now);
    }, every);
    return () => {
      clearInterval(timer);
      state.stop();
    };
  });
  return state;
}
