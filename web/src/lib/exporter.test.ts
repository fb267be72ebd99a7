// SPDX-License-Identifier: Apache-2.0
import { expect, test } from 'vitest';
import { accountTitle, fromCounters, nameOf, parts, percent, samplingWords, wrongShare, type Numbers } from './exporter';

const numbers = (members: Partial<Numbers>): Numbers => ({ unit: 'flows', sent: 0, decoded: 0, lost: 0, dropped: 0, no_template: 0, malformed: 0, held: 0, ...members });

test('every part of an account has a name, and those that are 0 are left out', () => {
  const one = numbers({ sent: 15, decoded: 8, lost: 5, held: 2 });
  expect(parts(one).map((part) => [part.count, part.words, part.loud])).toEqual([[5, 'lost on the way', true], [2, 'wait for a template', false]]);
  expect(accountTitle(one)).toBe('15 flows sent, by the exporter’s own numbers = 8 decoded + 5 lost on the way + 2 wait for a template');
  expect(wrongShare(one)).toBeCloseTo(1 / 3);
  expect(wrongShare(numbers({}))).toBe(0);
});

test('shares are never rounded to nothing', () => {
  expect([0, 0.00001, 0.0123, 0.5].map(percent)).toEqual(['0', '< 0.1 %', '1.2 %', '50 %']);
});

test('a rate has its source', () => {
  expect(samplingWords({ sampling: 0, sampling_from: '' }).short).toBe('not said');
  expect(samplingWords({ sampling: 1, sampling_from: 'header' })).toEqual({ short: 'all', long: 'All packets are metered, as its header says' });
  expect(samplingWords({ sampling: 1000, sampling_from: 'override' }).long).toMatch(/^One of 1,000 packets is metered, as the probe’s user says/);
});

test('a sample covers the steps since the one before; others are gaps', () => {
  const step = (at_ms: number, covered_ms: number, in_octets: number) => ({ at_ms, covered_ms, in_octets, out_octets: 0, in_packets: 0, out_packets: 0, in_discards: 0, out_discards: 0, in_errors: 0, out_errors: 0 });
  const chart = fromCounters({ from_ms: 0, to_ms: 600_000, step_ms: 60_000, steps: [step(60_000, 60_000, 60_000), step(180_000, 120_000, 240_000), step(360_000, 30_000, 30_000)] });
  expect(chart.times).toEqual([60, 120, 180, 240, 300, 360, 420]);
  expect(chart.series[0]?.values).toEqual([8000, 16_000, 16_000, null, null, 8000, 8000]);
  expect(fromCounters({ from_ms: 0, to_ms: 1, step_ms: 1000, steps: [] }).series).toEqual([]);
});

test('names belong to an exporter at a probe', () => {
  const names = [{ probe: 1, exporter_ip: '192.0.2.1', kind: 'interface' as const, key: 3, name: 'Gi0/3' }];
  expect(nameOf(names, { probe: 1, exporter_ip: '192.0.2.1' }, 'interface', 3)).toBe('Gi0/3');
  expect(nameOf(names, { probe: 2, exporter_ip: '192.0.2.1' }, 'interface', 3)).toBe('');
});
