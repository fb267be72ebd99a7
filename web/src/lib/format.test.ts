// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest';
import { ago, bits, bytes, clock, count, duration, exact, scale, shortStamp, si, span, stamp } from './format';

const plain = (text: string) => text.replaceAll('\u00a0', ' ');

describe('scale', () => {
  it.each([
    [0, '0', ''],
    [1, '1', ''],
    [999, '999', ''],
    [999.6, '1.00', 'k'],
    [1000, '1.00', 'k'],
    [1234, '1.23', 'k'],
    [9_994, '9.99', 'k'],
    [9_996, '10.0', 'k'],
    [12_345, '12.3', 'k'],
    [99_960, '100', 'k'],
    [999_499, '999', 'k'],
    [999_500, '1.00', 'M'],
    [8_213_004, '8.21', 'M'],
    [1.5e18, '1.50', 'E'],
    [2e22, '20000', 'E'],
    [0.5, '0.500', ''],
    [1.5, '1.50', ''],
    [-1234, '−1.23', 'k'],
    [Number.NaN, '–', ''],
  ])('%d', (value, number, step) => expect(scale(value)).toEqual([number, step]));
});

it('puts the unit beside the number', () => {
  expect(plain(bits(12_345_678))).toBe('12.3 Mbit/s');
  expect(plain(bits(0))).toBe('0 bit/s');
  expect(plain(bytes(1500))).toBe('1.50 kB');
  expect(plain(si(42))).toBe('42');
  expect(plain(si(12, '/s'))).toBe('12/s');
  expect(plain(si(1490, '/s'))).toBe('1.49 k/s');
  expect(plain(si(4200))).toBe('4.20 k');
});

it('gives all digits on hover', () => {
  expect(exact(12345678, 'bytes')).toBe('12,345,678 bytes');
  expect(exact(0)).toBe('0');
});

it('counts with the right noun', () => {
  expect(count(1, 'probe')).toBe('1 probe');
  expect(count(0, 'probe')).toBe('0 probes');
  expect(plain(count(401_277, 'flow'))).toBe('401 k flows');
});

it('says spans in one unit', () => {
  expect(span(850)).toBe('850 ms');
  expect(span(12_400)).toBe('12 s');
  expect(span(119_000)).toBe('119 s');
  expect(span(180_000)).toBe('3 min');
  expect(span(7_200_000)).toBe('2 h');
  expect(span(5 * 86_400_000)).toBe('5 days');
});

it('says durations of flows', () => {
  expect(plain(duration(0))).toBe('0 ms');
  expect(plain(duration(1234))).toBe('1.23 s');
  expect(plain(duration(12_340))).toBe('12.3 s');
  expect(plain(duration(125_000))).toBe('2:05 min');
});

it('says how long ago', () => {
  expect(ago(0, 5000)).toBe('never');
  expect(ago(4000, 5000)).toBe('now');
  expect(ago(5000, 17_000)).toBe('12 s ago');
});

it('writes times in UTC when asked', () => {
  const at = Date.UTC(2026, 10, 23, 4, 5, 6, 7);
  expect(clock(at, true)).toBe('04:05:06');
  expect(stamp(at, true)).toBe('2026-11-23 04:05:06.007');
  expect(shortStamp(at, at + 1000, true)).toBe('04:05:06');
  expect(shortStamp(at, at + 86_400_000, true)).toBe('11-23 04:05:06');
});
