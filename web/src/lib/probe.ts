// SPDX-License-Identifier: Apache-2.0
import type { Admission, Probe } from '../api/types';
import { bytes, count, exact, si, span } from './format';

/** How loudly a probe's state is shown. The state and its words come from the hub. */
export const probeLevels: Record<Probe['state'], 'good' | 'warn' | 'bad' | 'off'> = {
  away: 'off',
  capturing: 'good',
  attention: 'warn',
  pending: 'warn',
  revoked: 'bad',
};

/** What each way of admitting new probes means, as the page says it. */
export const modes: { mode: Admission['mode']; name: string; text: string }[] = [
  { mode: 'open', name: 'Open', text: 'Every probe that has this hub’s public key is admitted at once.' },
  { mode: 'token', name: 'Join token', text: 'A new probe is admitted when its key string carries a join token; without one it waits for you.' },
  { mode: 'approve', name: 'Approve', text: 'A new probe waits until an administrator approves it here.' },
];

/** it waits for somebody's yes; one that waits for a seat has that already */
export const isPending = (probe: Probe) => probe.admission === 'pending' && !waitsForSeat(probe);
export const waitsForSeat = (probe: Probe) => probe.seat === 'waiting';
export const isAdmitted = (probe: Probe) => probe.admission === 'admitted';
export const delivers = (probe: Probe) => probe.connected && isAdmitted(probe) && !waitsForSeat(probe);

const newMs = 24 * 3600_000;
/** Let in because the door was open, and not long ago: somebody should have a look. */
export function isNew(probe: Probe, now: number): boolean {
  return isAdmitted(probe) && probe.via === 'open' && now - probe.enrolled_ms < newMs;
}

/** "north", or "north, acme": what sets probes of one name apart; empty where nobody said so. */
export function place(probe: Pick<Probe, 'site' | 'tenant'>): string {
  return [probe.site, probe.tenant].filter((label) => label !== '' && label !== 'default').join(', ');
}

const nbsp = '\u00a0';
const diskWords: Record<Probe['spool']['disk'], string> = {
  unknown: '',
  'memory only': 'in memory only, ends with the probe',
  good: '',
  'disk full': 'disk full, new flows wait in memory',
  'disk failing': 'disk failing, new flows wait in memory',
};

/** Its spool, in the order that matters: what is wrong, what waits, how long it lasts. `loud`: see to it. */
export function spoolWords({ spool, connected }: Pick<Probe, 'spool' | 'connected'>): { text: string; loud: boolean } {
  if (spool.hubs === 0) return { text: 'not reported', loud: false };
  const words = [spool.flows === 0 ? 'nothing waits' : `${count(spool.flows, 'flow')} ${spool.flows === 1 ? 'waits' : 'wait'}`];
  if (spool.flows > 0 && spool.oldest_ms > 0) words.push(`the oldest ${span(spool.oldest_ms)} old`);
  words.push(`${bytes(spool.bytes)} of ${bytes(spool.limit_bytes)}`);
  const full = spool.limit_bytes > 0 && spool.bytes >= 0.98 * spool.limit_bytes;
  if (full && spool.flows > 0) words.push('full, the oldest go');
  else if (spool.hours_left > 0) words.push(`lasts ${lasting(spool.hours_left)} at the present rate`);
  const disk = diskWords[spool.disk];
  if (disk) words.push(disk);
  const loud = (full && spool.flows > 0) || spool.disk === 'disk full' || spool.disk === 'disk failing';
  return { text: words.join(', ') + (connected ? '' : ', as it said last'), loud };
}

/** "40 min", "5.2 h", "12 days", "more than a year" */
function lasting(hours: number): string {
  if (hours >= 8760) return 'more than a year';
  if (hours >= 48) return `${Math.floor(hours / 24)}${nbsp}days`;
  return hours >= 2 ? `${si(hours)}${nbsp}h` : span(hours * 3_600_000);
}

/** The probe's clock against the hub's, in the unit that tells something. */
export function clockWords(offsetMs: number, roundTripMs = -1): string {
  const clock = offsetMs === 0 ? 'as the hub’s' : `${span(Math.abs(offsetMs))} ${offsetMs > 0 ? 'ahead' : 'behind'}`;
  return roundTripMs < 0 ? clock : `${clock}, round trip ${roundTripMs < 1 ? 'below 1 ms' : span(roundTripMs)}`;
}

/**
 * Where the flows went since both have counted: "metered 120 = 100 stored + 20 waiting". What is 0 is left out, but for
 * what is stored. `loud`: the two sides differ. Empty: nothing to compare; `note` says why.
 */
export function ledgerWords({ ledger }: Pick<Probe, 'ledger'>): { text: string; note: string; loud: boolean } {
  const notes: Record<typeof ledger.state, string> = {
    unknown: 'not known: no report of the probe',
    settling: 'counting since a moment: a sum in some seconds',
    several_hubs: 'not compared: the probe delivers to several hubs, and none knows what the others have stored',
    balanced: 'adds up',
    differs:
      ledger.unexplained > 0
        ? `does not add up: ${count(ledger.unexplained, 'flow')} not accounted for`
        : `does not add up: ${count(-ledger.unexplained, 'flow')} counted twice`,
  };
  const note = notes[ledger.state];
  if (ledger.state !== 'balanced' && ledger.state !== 'differs') return { text: '', note, loud: false };
  const left = [`metered ${exact(ledger.metered)}`];
  if (ledger.waited) left.unshift(`waited before ${exact(ledger.waited)}`);
  const right = [`${exact(ledger.stored)} stored`];
  const parts: [number, string][] = [
    [ledger.waiting, 'waiting'],
    [ledger.missing, 'missing'],
    [ledger.undecodable, 'undecodable'],
    [ledger.unannounced, 'let go by the spool, not yet counted here'],
    [ledger.export_dropped, 'dropped before the spool'],
    [ledger.entering, 'on the way to the spool'],
  ];
  for (const [flows, word] of parts) if (flows) right.push(`${exact(flows)} ${word}`);
  return { text: `${left.join(' + ')} ${ledger.state === 'differs' ? '≠' : '='} ${right.join(' + ')}`, note, loud: ledger.state === 'differs' };
}

/** The beginning of a key, enough to tell two apart by eye. */
export const shortKey = (key: string) => key.slice(0, 8) + '…';
