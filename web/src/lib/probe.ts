// SPDX-License-Identifier: Apache-2.0
import type { Admission, Probe } from '../api/types';

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

export const isPending = (probe: Probe) => probe.admission === 'pending';
export const isAdmitted = (probe: Probe) => probe.admission === 'admitted';
export const delivers = (probe: Probe) => probe.connected && isAdmitted(probe);

const newMs = 24 * 3600_000;
/** Let in because the door was open, and not long ago: somebody should have a look. */
export function isNew(probe: Probe, now: number): boolean {
  return isAdmitted(probe) && probe.via === 'open' && now - probe.enrolled_ms < newMs;
}

/** "north", or "north, acme": what sets probes of one name apart; empty where nobody said so. */
export function place(probe: Pick<Probe, 'site' | 'tenant'>): string {
  return [probe.site, probe.tenant].filter((label) => label !== '' && label !== 'default').join(', ');
}

/** The beginning of a key, enough to tell two apart by eye. */
export const shortKey = (key: string) => key.slice(0, 8) + '…';
