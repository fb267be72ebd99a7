// SPDX-License-Identifier: Apache-2.0
// What a hub may set of a probe: as a form and in words.
import type { ConfigurationSettings, Probe } from '../api/types';

export type Setting = keyof ConfigurationSettings;

/** One row of the form: whether it is set here, and the text in its field. */
export type Row = { here: boolean; text: string };
export type Form = Record<Setting, Row>;

export const settings: { name: Setting; label: string; help: string; unit: string }[] = [
  { name: 'filter', label: 'Filter', help: 'Only packets that match are metered, as in tcpdump: udp port 53', unit: '' },
  { name: 'sampling', label: 'Sampling', help: 'One of so many packets is metered; counts stay those of the packets that were', unit: 'packets' },
  { name: 'active_s', label: 'Active timeout', help: 'A flow that goes on is reported this often', unit: 's' },
  { name: 'idle_s', label: 'Idle timeout', help: 'A flow without packets for so long has ended', unit: 's' },
  { name: 'template', label: 'Fields', help: 'Which fields of a flow are exported', unit: '' },
];

const nbsp = '\u00a0';
const templates: Record<string, string> = { all: 'all fields', v9: 'those of NetFlow v9' };

/** A value as people say it. Not set: empty. */
export function inWords(name: Setting, value: string | number | undefined): string {
  if (value === undefined) return '';
  switch (name) {
    case 'filter':
      return value === '' ? 'all packets' : String(value);
    case 'sampling':
      return value === 1 ? 'all packets' : `1 of ${value} packets`;
    case 'template':
      return templates[String(value)] ?? String(value);
    default:
      return `${value}${nbsp}s`;
  }
}

/** `own` as a form; what is not set shows in its field what would be there. */
export function toForm(own: ConfigurationSettings, otherwise: ConfigurationSettings): Form {
  const row = (name: Setting): Row => ({ here: own[name] !== undefined, text: String(own[name] ?? otherwise[name] ?? '') });
  return { filter: row('filter'), sampling: row('sampling'), active_s: row('active_s'), idle_s: row('idle_s'), template: row('template') };
}

const limits = { sampling: 1_000_000, active_s: 86_400, idle_s: 86_400 };

/** What the form says, or a sentence about the first field that cannot be meant. */
export function fromForm(form: Form): { settings: ConfigurationSettings; problem: string } {
  const said: ConfigurationSettings = {};
  if (form.filter.here) said.filter = form.filter.text.trim();
  if (form.template.here) said.template = form.template.text;
  for (const name of ['sampling', 'active_s', 'idle_s'] as const) {
    if (!form[name].here) continue;
    const text = form[name].text.trim();
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < 1 || value > limits[name])
      return { settings: {}, problem: `${settings.find((row) => row.name === name)?.label}: a whole number from 1 to ${limits[name]} is expected.` };
    said[name] = value;
  }
  return { settings: said, problem: '' };
}

export const same = (a: ConfigurationSettings, b: ConfigurationSettings) => settings.every(({ name }) => a[name] === b[name]);

/** How loudly the standing of a configuration is shown. */
export const levels: Record<Probe['configuration']['state'], 'good' | 'warn' | 'bad' | 'off'> = {
  none: 'off',
  confirmed: 'good',
  waiting: 'warn',
  refused: 'bad',
};
