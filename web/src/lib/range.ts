// SPDX-License-Identifier: Apache-2.0
// The time range of a page: the last so-and-so long, which moves, or between two moments.

export type Range = { kind: 'last'; ms: number; name: string } | { kind: 'between'; from: number; to: number };

const minute = 60_000;
export const presets: { name: string; ms: number; words: string }[] = [
  { name: '5m', ms: 5 * minute, words: 'last 5 minutes' },
  { name: '15m', ms: 15 * minute, words: 'last 15 minutes' },
  { name: '1h', ms: 60 * minute, words: 'last hour' },
  { name: '6h', ms: 360 * minute, words: 'last 6 hours' },
  { name: '24h', ms: 1440 * minute, words: 'last 24 hours' },
  { name: '7d', ms: 10_080 * minute, words: 'last 7 days' },
];
export const usual = presets[0] as (typeof presets)[number];

export function read(params: URLSearchParams): Range {
  const [from, to] = [moment(params.get('from')), moment(params.get('to'))];
  if (from !== null && to !== null && from < to) return { kind: 'between', from, to };
  const preset = presets.find((row) => row.name === params.get('range')) ?? usual;
  return { kind: 'last', ms: preset.ms, name: preset.name };
}

function moment(text: string | null): number | null {
  return text !== null && /^\d{1,15}$/.test(text) ? Number(text) : null;
}

export function write(params: URLSearchParams, range: Range): void {
  for (const name of ['range', 'from', 'to']) params.delete(name);
  if (range.kind === 'between') {
    params.set('from', String(Math.round(range.from)));
    params.set('to', String(Math.round(range.to)));
  } else if (range.name !== usual.name) params.set('range', range.name);
}

export function bounds(range: Range, now: number): { from: number; to: number } {
  return range.kind === 'between' ? { from: range.from, to: range.to } : { from: now - range.ms, to: now };
}

/**
 * One range length earlier or later. What would come nearer to now than half its length, time having
 * gone on meanwhile, becomes the moving range again.
 */
export function step(range: Range, now: number, direction: -1 | 1): Range {
  const { from, to } = bounds(range, now);
  const length = to - from;
  if (direction > 0 && (range.kind === 'last' || to + 1.5 * length >= now)) return movingLike(range, length, now);
  return { kind: 'between', from: from + direction * length, to: to + direction * length };
}

function movingLike(range: Range, length: number, now: number): Range {
  if (range.kind === 'last') return range;
  const preset = presets.find((row) => Math.abs(row.ms - length) < 1000);
  return preset ? { kind: 'last', ms: preset.ms, name: preset.name } : { kind: 'between', from: now - length, to: now };
}

/** Twice as long around the same middle, never past now. */
export function zoomOut(range: Range, now: number): Range {
  const { from, to } = bounds(range, now);
  const half = (to - from) / 2;
  const end = Math.min(to + half, now);
  return { kind: 'between', from: Math.max(0, end - 4 * half), to: end };
}

const round = [5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 21_600, 43_200, 86_400];

/** Length of a step for a chart: a round one, for 60 to 180 steps where that goes. */
export function stepMs(range: Range): number {
  const length = range.kind === 'last' ? range.ms : range.to - range.from;
  return 1000 * (round.find((s) => length / (s * 1000) <= 180) ?? 86_400);
}

export function words(range: Range, stamp: (ms: number) => string): string {
  if (range.kind === 'between') return `${stamp(range.from)} – ${stamp(range.to)}`;
  return presets.find((row) => row.name === range.name)?.words ?? range.name;
}
