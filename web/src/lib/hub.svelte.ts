// SPDX-License-Identifier: Apache-2.0
// The hub as seen from here: does it answer, what time is it there, who are we to it.

import { call, setCsrfToken, Refusal, watchers } from '../api/client';
import type { Session } from '../api/types';

class Hub {
  /** browser's clock, every second: what "ago" is reckoned from */
  tick = $state(Date.now());
  /** hub's clock less the browser's */
  offset = $state(0);
  /** browser's time of the first request without an answer; 0 while the hub answers */
  lostSince = $state(0);
  /** asking: not known yet; new: no administrator yet; out: nobody is signed in */
  door = $state<'asking' | 'new' | 'out' | 'in'>('asking');
  session = $state<Session | null>(null);
  now = $derived(this.tick + this.offset);

  constructor() {
    setInterval(() => (this.tick = Date.now()), 1000);
    watchers.answered = () => (this.lostSince = 0);
    watchers.unreachable = () => (this.lostSince ||= Date.now());
    watchers.signedOut = () => {
      if (this.door === 'in') this.leave();
    };
  }

  /** The hub's clock at this moment, for queries; `now` is for what is shown. */
  clock(): number {
    return Date.now() + this.offset;
  }

  enter(session: Session) {
    setCsrfToken(session.csrf_token);
    this.session = session;
    this.door = 'in';
  }

  leave() {
    setCsrfToken('');
    this.session = null;
    this.door = 'out';
  }

  /** Knock: is there a session, and if not, which door is open? */
  async ask(): Promise<void> {
    try {
      this.enter(await call('getSession'));
    } catch (cause) {
      if (!(cause instanceof Refusal)) throw cause;
      const { needed } = await call('getSetup');
      this.session = null;
      this.door = needed ? 'new' : 'out';
    }
  }
}

export const hub = new Hub();
