// SPDX-License-Identifier: Apache-2.0
import { expect, test } from 'vitest';
import type { ServerKey } from '../api/types';
import { confirmedWords, portsWords, shortHex } from './serverKey';

const missing = (n: number) => Array.from({ length: n }, () => ({}) as ServerKey['unconfirmed'][number]);
const words = (confirmed: number, unconfirmed: number, using_next = 0) => confirmedWords({ confirmed, unconfirmed: missing(unconfirmed), using_next });

test('how many have confirmed the next key', () => {
  expect(words(0, 0)).toBe('there is no probe yet.');
  expect(words(1, 0)).toBe('the one probe has confirmed it.');
  expect(words(1200, 0, 3)).toBe('all 1,200 probes have confirmed it, 3 connected by it.');
  expect(words(1, 2)).toBe('1 of 3 probes has confirmed it. Not yet:');
  expect(words(0, 1)).toBe('0 of 1 probe have confirmed it. Not yet:');
  expect(words(4, 1, 2)).toBe('4 of 5 probes have confirmed it, 2 connected by it. Not yet:');
});

test('where the next key is served', () => {
  expect(portsWords({ ports: [] })).toBe('It has no port of its own.');
  expect(portsWords({ ports: [{ interface: 1, data_port: 5558, events_port: 5559 }] })).toBe('It is served on TCP ports 5558 and 5559 too.');
  const shared = [1, 2].map((id) => ({ interface: id, data_port: 5557 + 2 * id, events_port: 5560 }));
  expect(portsWords({ ports: shared })).toBe('It is served on TCP ports 5559, 5560 and 5561 too.');
});

test('a key is told by its beginning', () => {
  expect(shortHex('0123456789abcdef')).toBe('01234567…');
});
