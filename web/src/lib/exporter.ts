// SPDX-License-Identifier: Apache-2.0
// What an exporter's numbers mean, in words.

import type { Exporter, FlowPage, InterfaceCounters } from '../api/types';
import type { Level } from './licence';
import { exact } from './format';
import type { Chart } from './series';

export const levels: Record<Exporter['state'], Level> = { sending: 'good', attention: 'warn', silent: 'bad', unknown: 'off' };
export const stateWords: Record<Exporter['state'], string> = { sending: 'sending', attention: 'need attention', silent: 'silent', unknown: 'not known now' };

/** As people know it. */
export const title = (exporter: Pick<Exporter, 'name' | 'ip'>) => exporter.name || exporter.ip;

const units: Record<Exporter['unit'], string> = { datagrams: 'datagrams', flows: 'flows', records: 'records', mixed: 'units' };

export type Numbers = Pick<Exporter, 'unit' | 'sent' | 'decoded' | 'lost' | 'dropped' | 'no_template' | 'malformed' | 'held'>;

export interface Part {
  words: string;
  count: number;
  loud: boolean;
  help: string;
}

/** What is sent and not decoded, each with its cause; those that are 0 are left out. */
export function parts(numbers: Numbers): Part[] {
  const all: Part[] = [
    { words: 'lost on the way', count: numbers.lost, loud: true, help: 'The exporter numbered them, they did not come, and the probe’s own sockets dropped nothing meanwhile' },
    { words: 'dropped at the probe', count: numbers.dropped, loud: true, help: 'They did not come while the probe’s own sockets dropped datagrams: it was behind' },
    { words: 'without a template', count: numbers.no_template, loud: true, help: 'The template that says how to read them did not come in time' },
    { words: 'malformed', count: numbers.malformed, loud: true, help: 'They could not be read' },
    { words: 'wait for a template', count: numbers.held, loud: false, help: 'They are kept until the template comes, 35 minutes at most' },
  ];
  return all.filter((part) => part.count > 0);
}

export function accountTitle(numbers: Numbers): string {
  return `${exact(numbers.sent, units[numbers.unit])} sent, by the exporter’s own numbers = ${exact(numbers.decoded)} decoded` +
    parts(numbers).map((part) => ` + ${exact(part.count)} ${part.words}`).join('');
}

export const unitWords = (unit: Exporter['unit']) => units[unit];

/** What share of what was sent is not decoded and does not wait: 0 to 1. */
export function wrongShare(numbers: Numbers): number {
  return numbers.sent ? (numbers.lost + numbers.dropped + numbers.no_template + numbers.malformed) / numbers.sent : 0;
}

export function percent(share: number): string {
  if (share === 0) return '0';
  return share < 0.001 ? '< 0.1 %' : `${(share * 100).toFixed(share < 0.1 ? 1 : 0)} %`;
}

const rateFrom: Record<string, string> = {
  options: 'as its options say',
  record: 'as its records say',
  header: 'as its header says',
  sflow: 'as its samples say',
  override: 'as the probe’s user says',
};

export function samplingWords(exporter: Pick<Exporter, 'sampling' | 'sampling_from'>): { short: string; long: string } {
  if (!exporter.sampling) return { short: 'not said', long: 'Nobody said a sampling rate: counts are taken as they are' };
  const who = rateFrom[exporter.sampling_from] ?? '';
  if (exporter.sampling === 1) return { short: 'all', long: `All packets are metered, ${who}` };
  return { short: `1 in ${exact(exporter.sampling)}`, long: `One of ${exact(exporter.sampling)} packets is metered, ${who}. Counts are stored as they were sent, with the rate` };
}

/** Bits a second in and out. A step between two samples has their rate; one that no sample covers is a gap. */
export function fromCounters(counters: InterfaceCounters): Chart {
  const step = counters.step_ms;
  const at = new Map(counters.steps.map((one) => [one.at_ms, one]));
  const times: number[] = [];
  const into: (number | null)[] = [];
  const out: (number | null)[] = [];
  const last = counters.steps.at(-1);
  const first = counters.steps[0];
  if (!first || !last) return { times, series: [], stepMs: step };
  let covers: (typeof counters.steps)[number] | undefined;
  const steps: number[] = [];
  for (let ms = first.at_ms; ms <= last.at_ms; ms += step) steps.push(ms);
  for (const ms of steps.reverse()) {
    const here = at.get(ms);
    if (here && here.covered_ms > 0) covers = here;
    const reaches = covers && covers.at_ms + step - covers.covered_ms <= ms + step ? covers : undefined;
    const good = here && here.covered_ms > 0 ? here : reaches;
    times.unshift(ms / 1000);
    into.unshift(good ? (good.in_octets * 8000) / good.covered_ms : null);
    out.unshift(good ? (good.out_octets * 8000) / good.covered_ms : null);
  }
  // the end of the last step: without it nothing would be drawn of it
  times.push(last.at_ms / 1000 + step / 1000);
  into.push(into.at(-1) ?? null);
  out.push(out.at(-1) ?? null);
  return { times, series: [{ name: 'In', values: into }, { name: 'Out', values: out }], stepMs: step };
}

export type Names = FlowPage['names'];

/** What the exporter of a flow calls one of its numbers, or "". */
export function nameOf(names: Names, flow: { probe?: unknown; exporter_ip?: unknown }, kind: Names[number]['kind'], key: number): string {
  return names.find((one) => one.kind === kind && one.key === key && one.probe === flow.probe && one.exporter_ip === flow.exporter_ip)?.name ?? '';
}
