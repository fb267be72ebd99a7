// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest';
import { bounds, read, step, usual, stepMs, words, write, zoomOut, type Range } from './range';

const now = 1_800_000_000_000;
const of = (query: string) => read(new URLSearchParams(query));
const back = (range: Range) => {
  const params = new URLSearchParams('filter=x&range=1h&from=1&to=2');
  write(params, range);
  return params.toString();
};

describe('the address holds the range', () => {
  it.each(['', 'range=', 'range=3y', 'from=5', 'from=9&to=5', 'from=-1&to=5', 'from=a&to=b'])(
    'falls back to the usual one: "%s"', (query) => expect(of(query)).toMatchObject({ kind: 'last', name: usual.name }));
  it('reads a preset', () => expect(of('range=24h')).toEqual({ kind: 'last', name: '24h', ms: 86_400_000 }));
  it('reads two moments', () => expect(of('from=5&to=9&range=1h')).toEqual({ kind: 'between', from: 5, to: 9 }));
  it('writes what it reads', () => {
    expect(back(of(''))).toBe('filter=x');
    expect(back(of('range=24h'))).toBe('filter=x&range=24h');
    expect(back(of('from=5&to=9'))).toBe('filter=x&from=5&to=9');
  });
});

describe('step', () => {
  const hour = of('range=1h');
  it('goes back by one length', () =>
    expect(step(hour, now, -1)).toEqual({ kind: 'between', from: now - 7_200_000, to: now - 3_600_000 }));
  it('comes back to the moving range', () => expect(step(step(hour, now, -1), now, 1)).toEqual(hour));
  it('does so too when one has looked for a while', () =>
    expect(step(step(hour, now, -1), now + 20 * 60_000, 1)).toEqual(hour));
  it('does not go past now', () => {
    expect(step(hour, now, 1)).toEqual(hour);
    const odd: Range = { kind: 'between', from: now - 150_000, to: now - 50_000 };
    expect(step(odd, now, 1)).toEqual({ kind: 'between', from: now - 100_000, to: now });
  });
});

it('zooms out to twice the length', () => {
  expect(zoomOut({ kind: 'between', from: now - 400, to: now - 300 }, now)).toEqual({ kind: 'between', from: now - 450, to: now - 250 });
  const { from, to } = bounds(zoomOut(of('range=1h'), now), now);
  expect([from, to]).toEqual([now - 7_200_000, now]);
});

it.each([['5m', 5], ['15m', 5], ['1h', 30], ['6h', 120], ['24h', 600], ['7d', 3600]])('cuts %s into round steps', (name, seconds) =>
  expect(stepMs(of(`range=${name}`))).toBe(seconds * 1000));

it('says the range in words', () => {
  expect(words(of('range=1h'), String)).toBe('last hour');
  expect(words(of('from=5&to=9'), String)).toBe('5 – 9');
});
