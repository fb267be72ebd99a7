// SPDX-License-Identifier: Apache-2.0
import { expect, test } from 'vitest';
import type { Probe } from '../api/types';
import { delivers, isNew, place } from './probe';

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

test('the default site and tenant are not worth a word', () => {
  expect(place({ site: 'default', tenant: 'default' })).toBe('');
  expect(place({ site: 'north', tenant: 'default' })).toBe('north');
  expect(place({ site: 'north', tenant: 'acme' })).toBe('north, acme');
});
