// SPDX-License-Identifier: Apache-2.0
// From what the hub reports to what a chart draws: one row of numbers a name, over common times.
// A moment without a report is null, drawn as a gap; it is not zero.

import type { LiveTick, Timeseries } from '../api/types';

export interface Series {
  name: string;
  values: (number | null)[];
}

export interface Chart {
  /** seconds since 1970, as the chart library wants them */
  times: number[];
  series: Series[];
  /** length of a step; 0: points in time */
  stepMs: number;
}

export interface Summary {
  name: string;
  last: number | null;
  average: number;
  max: number;
  p95: number;
  /** sum of value times length of step: bits of a bit/s chart */
  total: number;
}

const other = 'Other';

/** Keep names where they were while the same names are shown: a chart that reorders is unreadable. */
export function steady(names: string[], before: string[]): string[] {
  const same = names.length === before.length && names.every((name) => before.includes(name));
  return same ? before : names;
}

/** Bits a second by application, from ticks. The `limit` largest have names, the rest is Other. */
export function fromTicks(ticks: LiveTick[], limit: number, before: string[] = []): Chart {
  const sums = new Map<string, number>();
  for (const tick of ticks)
    for (const app of tick.apps) sums.set(app.name, (sums.get(app.name) ?? 0) + app.octets);
  const names = [...sums]
    .filter(([name]) => name !== other)
    .sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1))
    .slice(0, limit)
    .map(([name]) => name);
  const kept = steady(names, before.filter((name) => name !== other));

  const first = ticks[0];
  const last = ticks[ticks.length - 1];
  const times: number[] = [];
  const at = new Map<number, LiveTick>();
  if (first && last) {
    for (const tick of ticks) at.set(Math.round(tick.time_ms / 1000), tick);
    for (let s = Math.round(first.time_ms / 1000); s <= Math.round(last.time_ms / 1000); s++) times.push(s);
  }
  const rest: (number | null)[] = [];
  const rows = new Map(kept.map((name) => [name, [] as (number | null)[]]));
  for (const s of times) {
    const tick = at.get(s);
    if (!tick) {
      rest.push(null);
      for (const values of rows.values()) values.push(null);
      continue;
    }
    let named = 0;
    const apps = new Map(tick.apps.map((app) => [app.name, app.octets]));
    for (const [name, values] of rows) {
      const octets = apps.get(name) ?? 0;
      named += octets;
      values.push(octets * 8);
    }
    rest.push(Math.max(0, tick.octets - named) * 8);
  }
  const series = kept.map((name) => ({ name, values: rows.get(name) ?? [] }));
  if (rest.some((value) => value !== null && value > 0)) series.push({ name: other, values: rest });
  return { times, series, stepMs: 0 };
}

/** Bits a second from stored octets a step. */
export function fromStored(stored: Timeseries): Chart {
  const perSecond = 8 / (stored.step_ms / 1000);
  return {
    times: stored.times_ms.map((ms) => ms / 1000),
    series: stored.series.map(({ key, values }) => ({
      name: key === 'other' ? other : key === '' ? 'Unknown' : key,
      values: values.map((value) => value * perSecond),
    })),
    stepMs: stored.step_ms,
  };
}

/** Each series on top of those before it. A gap in the data is a gap in the stack. */
export function stacked(series: Series[]): (number | null)[][] {
  let below: (number | null)[] = [];
  return series.map(({ values }, i) => {
    below = values.map((value, at) => (value === null ? null : value + (i === 0 ? 0 : (below[at] ?? 0))));
    return below;
  });
}

export function summary({ name, values }: Series, stepSeconds: number): Summary {
  const known = values.filter((value): value is number => value !== null);
  const sum = known.reduce((a, b) => a + b, 0);
  const ranked = [...known].sort((a, b) => a - b);
  return {
    name,
    last: values[values.length - 1] ?? null,
    average: known.length ? sum / known.length : 0,
    max: ranked[ranked.length - 1] ?? 0,
    p95: ranked[Math.max(0, Math.ceil(ranked.length * 0.95) - 1)] ?? 0,
    total: sum * stepSeconds,
  };
}

export interface Host {
  ip: string;
  in: number;
  out: number;
  /** bits a second, both ways, second by second */
  line: number[];
}

/** The busiest hosts of the last `window` seconds: bits a second on average, and their course. */
export function topHosts(ticks: LiveTick[], window: number, limit: number): Host[] {
  const last = ticks[ticks.length - 1];
  if (!last) return [];
  const end = Math.round(last.time_ms / 1000);
  const hosts = new Map<string, Host>();
  for (const tick of ticks) {
    const at = Math.round(tick.time_ms / 1000) - (end - window + 1);
    if (at < 0) continue;
    for (const { ip, octets_in, octets_out } of tick.hosts) {
      let host = hosts.get(ip);
      if (!host) hosts.set(ip, (host = { ip, in: 0, out: 0, line: new Array<number>(window).fill(0) }));
      host.in += (octets_in * 8) / window;
      host.out += (octets_out * 8) / window;
      host.line[at] = (octets_in + octets_out) * 8;
    }
  }
  return [...hosts.values()].sort((a, b) => b.in + b.out - (a.in + a.out)).slice(0, limit);
}
