// SPDX-License-Identifier: Apache-2.0
import type { Probe } from '../api/types';

/** How loudly a probe's state is shown. The state and its words come from the hub. */
export const probeLevels: Record<Probe['state'], 'good' | 'warn' | 'off'> = {
  away: 'off',
  capturing: 'good',
  attention: 'warn',
};
