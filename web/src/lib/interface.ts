// SPDX-License-Identifier: Apache-2.0
import type { Interface } from '../api/types';

/** How loudly the state of an interface is shown. The words come from the hub. */
export const levels: Record<Interface['state'], 'good' | 'warn' | 'off'> = {
  receiving: 'good',
  waiting: 'off',
  problem: 'warn',
};

/** Is this host name one that a probe elsewhere could use? Only "this machine" names are not. */
export function onlyLocal(address: string): boolean {
  return /^(localhost|.*\.localhost|127(\.\d+){3}|\[?::1\]?)$/i.test(address);
}
