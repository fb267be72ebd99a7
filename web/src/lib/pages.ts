// SPDX-License-Identifier: Apache-2.0
import type { IconName } from './icons';

/** The pages of the rail, and the keys that go there. */
export const pages: { path: string; name: string; icon: IconName; keys: string }[] = [
  { path: '/', name: 'Overview', icon: 'overview', keys: 'g o' },
  { path: '/flows', name: 'Flows', icon: 'flows', keys: 'g f' },
  { path: '/probes', name: 'Probes', icon: 'probes', keys: 'g p' },
  { path: '/exporters', name: 'Exporters', icon: 'exporters', keys: 'g x' },
  { path: '/interfaces', name: 'Interfaces', icon: 'interfaces', keys: 'g i' },
  { path: '/licence', name: 'Licence', icon: 'licence', keys: 'g l' },
];
