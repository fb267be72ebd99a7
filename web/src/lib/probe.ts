// SPDX-License-Identifier: Apache-2.0
import type { Probe } from '../api/types';

/** How loudly a probe's state is shown. The words come from the hub. */
export function probeLevel(probe: Probe): 'good' | 'warn' | 'off' {
  if (!probe.connected) return 'off';
  const skewed = Math.abs(probe.clock_offset_ms) > 30_000;
  return skewed || probe.packets_per_s === 0 ? 'warn' : 'good';
}
