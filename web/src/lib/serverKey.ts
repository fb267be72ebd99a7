// SPDX-License-Identifier: Apache-2.0
// The change of the hub's key, in words.

import type { ServerKey } from '../api/types';
import { count, exact } from './format';

/** The beginning of a key, enough to tell two apart by eye. */
export const shortHex = (hex: string) => hex.slice(0, 8) + '…';

/** How many of the probes hold the next key, and how many use it already. */
export function confirmedWords(key: Pick<ServerKey, 'confirmed' | 'unconfirmed' | 'using_next'>): string {
  const all = key.confirmed + key.unconfirmed.length;
  if (all === 0) return 'there is no probe yet.';
  const using = key.using_next > 0 ? `, ${exact(key.using_next)} connected by it` : '';
  if (key.unconfirmed.length === 0) return `${all === 1 ? 'the one probe has' : `all ${exact(all)} probes have`} confirmed it${using}.`;
  return `${exact(key.confirmed)} of ${count(all, 'probe')} ${key.confirmed === 1 ? 'has' : 'have'} confirmed it${using}. Not yet:`;
}

/** Where the next key is served. */
export function portsWords(key: Pick<ServerKey, 'ports'>): string {
  if (key.ports.length === 0) return 'It has no port of its own.';
  const ports = [...new Set(key.ports.flatMap((one) => [one.data_port, one.events_port]))].sort((a, b) => a - b);
  return `It is served on TCP ${ports.length === 1 ? 'port' : 'ports'} ${ports.slice(0, -1).join(', ')}${ports.length > 1 ? ' and ' : ''}${ports.at(-1)} too.`;
}
