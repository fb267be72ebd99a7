// SPDX-License-Identifier: Apache-2.0
// The licence in words. Reasons and warnings are the hub's own sentences; what stands here is how
// they are put together and how loudly they are said.

import type { Licence, Probe, SeatHeld } from '../api/types';
import { count, exact, span } from './format';

export type Level = 'good' | 'warn' | 'bad' | 'off';
type Stamp = (ms: number) => string;

export const kinds: Record<NonNullable<Licence['licence']>['kind'], string> = {
  cloud: 'cloud: this hub and the probes that connect to it',
  hub: 'hub: this hub alone; probes bring their own',
  probe: 'probe: one probe alone',
};

const states: Record<Licence['state'], string> = {
  none: 'no licence',
  valid: 'valid',
  grace: 'in grace: expired, and everything works for now',
  not_yet: 'not valid yet',
  expired: 'expired',
  revoked: 'revoked',
  other_machine: 'for another machine',
  other_program: 'for a probe, not for a hub',
};

/** "it expired on …" → "It expired on …." */
export function sentence(text: string): string {
  const trimmed = text.trim();
  if (trimmed === '') return '';
  return trimmed.charAt(0).toUpperCase() + trimmed.slice(1) + (/[.?]$/.test(trimmed) ? '' : '.');
}

/** The state as it is headed: what is in force, and when nothing is, what became of the licence. */
export function headline({ state, kept, licence }: Pick<Licence, 'state' | 'kept' | 'licence'>): string {
  if (!licence) return 'Evaluation: this hub has no licence';
  const words = `Licence of ${licence.customer}: ${states[state]}`;
  const works = state === 'valid' || state === 'grace';
  if (!works) return `Evaluation. ${words}`;
  return kept ? `${words}, from memory` : words;
}

export function level({ state, kept, warning, trouble }: Pick<Licence, 'state' | 'kept' | 'warning' | 'trouble'>): Level {
  if (state === 'none') return trouble ? 'warn' : 'off';
  if (state !== 'valid' && state !== 'grace') return 'bad';
  if (kept) return 'bad';
  return state === 'grace' || warning || trouble ? 'warn' : 'good';
}

/** What every page says until it is seen to; null: nothing. */
export function banner(licence: Licence): { level: 'warn' | 'bad'; text: string } | null {
  const loud = level(licence);
  if (loud === 'good' || loud === 'off') return null;
  const kept = licence.kept ? licence.trouble : '';
  const text = kept || licence.warning || (licence.state === 'valid' || licence.state === 'none' ? licence.trouble : licence.why);
  return { level: loud, text: sentence(text) };
}

/** "3 of 3 seats are taken, 1 probe waits" */
export function seatsWords({ limit, used, waiting }: Pick<Licence['seats'], 'limit' | 'used' | 'waiting'>): string {
  const taken = `${exact(used)} of ${count(limit, 'seat')} ${used === 1 ? 'is' : 'are'} taken`;
  if (waiting.length === 0) return taken;
  return `${taken}, ${count(waiting.length, 'probe')} ${waiting.length === 1 ? 'waits' : 'wait'}`;
}

/** Of one that has a seat: is it here, and until when is its seat kept? */
export function heldWords(held: Pick<SeatHeld, 'connected' | 'gone_ms' | 'kept_until_ms'>, nowMs: number, stamp: Stamp): string {
  if (held.connected) return 'connected';
  const away = held.gone_ms ? `away since ${stamp(held.gone_ms)}` : 'away';
  if (held.kept_until_ms === null) return away;
  const left = held.kept_until_ms - nowMs;
  return left > 0 ? `${away}; its seat is kept until ${stamp(held.kept_until_ms)}, ${span(left)} more` : `${away}; its seat is given up`;
}

const dayMs = 86_400_000;

/** How long it is until then, said after the date, in days as people count them; "" once it is past. */
export function daysWords(untilMs: number, nowMs: number): string {
  const left = untilMs - nowMs;
  if (left <= 0) return '';
  return `, ${left < dayMs ? span(left) : count(Math.ceil(left / dayMs), 'day')} left`;
}

/** What an installation has done, seen from what was before and what is now. */
export function installedWords(before: Licence, after: Licence): string {
  if (after.revocations !== before.revocations)
    return sentence(`the list of revoked licences, number ${exact(after.revocations)}, is in force`);
  if (!after.licence || after.licence.id === before.licence?.id) return 'Taken. It was in force already.';
  const seats = after.licence.kind === 'cloud' ? `, ${count(after.licence.probes, 'seat')}` : '';
  return `Installed: licence ${after.licence.id} of ${after.licence.customer}${seats}. It acts now; nothing has to be restarted.`;
}

/** A probe's seat, where the probe is shown. */
export function seatWords({ seat, pinned, reason }: Pick<Probe, 'seat' | 'pinned' | 'reason'>): string {
  const words: Record<Probe['seat'], string> = {
    held: 'has one',
    waiting: `waits for one${reason ? `: ${reason}` : ''}`,
    own: 'needs none: it has a licence of its own',
    none: 'none while it is away or not admitted',
  };
  return words[seat] + (pinned ? ', pinned' : '');
}
