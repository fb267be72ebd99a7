// SPDX-License-Identifier: Apache-2.0
import { expect, it } from 'vitest';
import type { LiveTick } from '../api/types';
import { fromStored, fromTicks, stacked, steady, summary, topHosts } from './series';

function tick(s: number, octets: number, apps: Record<string, number>, hosts: LiveTick['hosts'] = []): LiveTick {
  return {
    time_ms: s * 1000, packets: 1, octets, drops: 0, flows_active: 1, flows: 0, probes_connected: 1,
    apps: Object.entries(apps).map(([name, octets]) => ({ name, octets, packets: 1 })),
    hosts, conversations: [],
  };
}

it('turns ticks into bits a second, largest first, the rest as Other', () => {
  const chart = fromTicks([tick(10, 100, { TLS: 60, DNS: 30 }), tick(11, 50, { TLS: 50 })], 1);
  expect(chart.times).toEqual([10, 11]);
  expect(chart.series).toEqual([
    { name: 'TLS', values: [480, 400] },
    { name: 'Other', values: [320, 0] },
  ]);
});

it('shows a second without report as a gap', () => {
  const chart = fromTicks([tick(10, 10, { TLS: 10 }), tick(13, 10, { TLS: 10 })], 5);
  expect(chart.times).toEqual([10, 11, 12, 13]);
  expect(chart.series).toEqual([{ name: 'TLS', values: [80, null, null, 80] }]);
  expect(fromTicks([], 5)).toEqual({ times: [], series: [], stepMs: 0 });
});

it('keeps the order of names while they stay the same', () => {
  expect(steady(['a', 'b'], ['b', 'a'])).toEqual(['b', 'a']);
  expect(steady(['a', 'c'], ['b', 'a'])).toEqual(['a', 'c']);
  const ticks = [tick(1, 30, { TLS: 20, DNS: 10 })];
  expect(fromTicks(ticks, 5, ['DNS', 'TLS', 'Other']).series.map((s) => s.name)).toEqual(['DNS', 'TLS']);
});

it('turns stored sums into rates by the step', () => {
  const chart = fromStored({
    from_ms: 0, to_ms: 20_000, step_ms: 10_000, times_ms: [0, 10_000], elapsed_ms: 1,
    series: [{ key: '', values: [1250, 0] }, { key: 'other', values: [0, 2500] }],
  });
  expect(chart.series).toEqual([{ name: 'Unknown', values: [1000, 0] }, { name: 'Other', values: [0, 2000] }]);
});

it('stacks and keeps gaps', () => {
  expect(stacked([{ name: 'a', values: [1, null, 3] }, { name: 'b', values: [2, null, 0] }])).toEqual([[1, null, 3], [3, null, 3]]);
});

it('sums up a series', () => {
  const values = Array.from({ length: 100 }, (_, i) => i + 1);
  expect(summary({ name: 'a', values }, 2)).toEqual({ name: 'a', last: 100, average: 50.5, max: 100, p95: 95, total: 10_100 });
  expect(summary({ name: 'a', values: [null, 4, null] }, 1)).toEqual({ name: 'a', last: null, average: 4, max: 4, p95: 4, total: 4 });
  expect(summary({ name: 'a', values: [] }, 1).max).toBe(0);
});

it('ranks hosts over a window and draws their course', () => {
  const ticks = [
    tick(1, 0, {}, [{ ip: 'old', octets_in: 1e6, octets_out: 0 }]),
    tick(9, 0, {}, [{ ip: 'a', octets_in: 100, octets_out: 25 }]),
    tick(10, 0, {}, [{ ip: 'b', octets_in: 200, octets_out: 0 }, { ip: 'a', octets_in: 0, octets_out: 25 }]),
  ];
  expect(topHosts(ticks, 2, 5)).toEqual([
    { ip: 'b', in: 800, out: 0, line: [0, 1600] },
    { ip: 'a', in: 400, out: 200, line: [1000, 200] },
  ]);
});
