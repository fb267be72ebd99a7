// SPDX-License-Identifier: Apache-2.0
import { expect, test } from 'vitest';
import type { Probe } from '../api/types';
import { clockWords, delivers, isNew, isPending, ledgerWords, place, spoolWords } from './probe';

const probe = (members: Partial<Probe>) => ({ admission: 'admitted', via: 'open', enrolled_ms: 1_000, connected: true, ...members }) as Probe;

test('a probe is new for a day, if nobody said yes to it', () => {
  expect(isNew(probe({}), 2_000)).toBe(true);
  expect(isNew(probe({}), 2_000 + 24 * 3600_000)).toBe(false);
  expect(isNew(probe({ via: 'token' }), 2_000)).toBe(false);
  expect(isNew(probe({ admission: 'revoked' }), 2_000)).toBe(false);
});

test('only who is admitted delivers', () => {
  expect(delivers(probe({}))).toBe(true);
  expect(delivers(probe({ connected: false }))).toBe(false);
  expect(delivers(probe({ admission: 'pending' }))).toBe(false);
});

test('who waits for a seat does not wait for a yes', () => {
  expect(isPending(probe({ admission: 'pending', seat: 'none' }))).toBe(true);
  expect(isPending(probe({ admission: 'pending', seat: 'waiting' }))).toBe(false);
  expect(delivers(probe({ seat: 'waiting' }))).toBe(false);
  expect(delivers(probe({ seat: 'held' }))).toBe(true);
});

test('the default site and tenant are not worth a word', () => {
  expect(place({ site: 'default', tenant: 'default' })).toBe('');
  expect(place({ site: 'north', tenant: 'default' })).toBe('north');
  expect(place({ site: 'north', tenant: 'acme' })).toBe('north, acme');
});

const spool = (members: Partial<Probe['spool']> = {}, connected = true) =>
  spoolWords({ connected, spool: { disk: 'good', hubs: 1, flows: 0, batches: 0, bytes: 0, limit_bytes: 8e9, oldest_ms: 0, hours_left: 0, flows_dropped: 0, batches_torn: 0, ...members } });

test('the spool in words', () => {
  const plain = (said: { text: string }) => said.text.replaceAll('\u00a0', ' ');
  expect(spool({ hubs: 0, disk: 'unknown' })).toEqual({ text: 'not reported', loud: false });
  expect(plain(spool())).toBe('nothing waits, 0 B of 8.00 GB');
  expect(plain(spool({ flows: 1200, bytes: 2.5e6, oldest_ms: 90_000, hours_left: 5.25 }))).toBe(
    '1,200 flows wait, the oldest 90 s old, 2.50 MB of 8.00 GB, lasts 5.25 h at the present rate',
  );
  expect(plain(spool({ hours_left: 100 }))).toContain('lasts 4 days');
  expect(plain(spool({ hours_left: 0.5 }))).toContain('lasts 30 min');
  expect(plain(spool({ hours_left: 1e6 }))).toContain('lasts more than a year');
  expect(plain(spool({ flows: 1 }, false))).toBe('1 flow waits, 0 B of 8.00 GB, as it said last');
  expect(spool({ flows: 5, bytes: 7.9e9 })).toMatchObject({ loud: true, text: expect.stringContaining('full, the oldest go') });
  expect(spool({ bytes: 7.9e9 }).loud).toBe(false); // all of it is stored, and goes
  expect(spool({ disk: 'disk failing' })).toMatchObject({ loud: true, text: expect.stringContaining('disk failing') });
  expect(spool({ disk: 'memory only' }).loud).toBe(false);
});

test('a clock is said to the millisecond, as long as it is near', () => {
  expect(clockWords(0)).toBe('as the hub’s');
  expect(clockWords(12)).toBe('12 ms ahead');
  expect(clockWords(-41_000)).toBe('41 s behind');
  expect(clockWords(12, 0)).toBe('12 ms ahead, round trip below 1 ms');
  expect(clockWords(0, 34)).toBe('as the hub’s, round trip 34 ms');
});

const ledger = (members: Partial<Probe['ledger']>) =>
  ledgerWords({ ledger: { state: 'balanced', since_ms: 1, waited: 0, metered: 0, export_dropped: 0, entering: 0, stored: 0, missing: 0, undecodable: 0, unannounced: 0, waiting: 0, unexplained: 0, ...members } });

test('the sum says what there is, and is loud only when it does not add up', () => {
  expect(ledger({ metered: 1200, stored: 1200 })).toEqual({ text: 'metered 1,200 = 1,200 stored', note: 'adds up', loud: false });
  expect(ledger({ waited: 50, metered: 70, stored: 90, waiting: 20, missing: 6, undecodable: 4 }).text).toBe(
    'waited before 50 + metered 70 = 90 stored + 20 waiting + 6 missing + 4 undecodable',
  );
  expect(ledger({ state: 'differs', metered: 10, stored: 6, unexplained: 4 })).toEqual({
    text: 'metered 10 ≠ 6 stored', note: 'does not add up: 4 flows not accounted for', loud: true,
  });
  expect(ledger({ state: 'differs', metered: 10, stored: 11, unexplained: -1 }).note).toBe('does not add up: 1 flow counted twice');
  for (const state of ['unknown', 'settling', 'several_hubs'] as const) expect(ledger({ state, unexplained: 4 })).toMatchObject({ text: '', loud: false });
});
