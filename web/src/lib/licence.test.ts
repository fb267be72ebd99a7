// SPDX-License-Identifier: Apache-2.0
import { expect, test } from 'vitest';
import type { Licence } from '../api/types';
import { banner, daysWords, headline, heldWords, installedWords, level, seatsWords, seatWords, sentence } from './licence';

const now = 1_800_000_000_000;
const day = 86_400_000;
const cloud = (members: Partial<Licence> = {}): Licence => ({
  mode: 'cloud', state: 'valid', kept: false, kept_until_ms: null, why: 'valid until 2028-01-01', trouble: '', warning: '', days_left: null,
  now_ms: now, revocations: 0,
  licence: { id: 'L-7', key_id: 'evaluation', kind: 'cloud', customer: 'Norddeutsche Netze', probes: 3, not_before_ms: now - day, expires_ms: now + 90 * day,
    grace_days: 30, grace_ends_ms: now + 120 * day, system_id: null, from: '/etc/weir/hub.license' },
  system_id: { text: 'weir1-aaaaaaaa-0-0-0-cccc', facts: 1, enough: false, advice: 'use a cloud licence' },
  seats: { limit: 3, used: 0, held: [], waiting: [], own: [] },
  ...members,
});
const none = cloud({ mode: 'evaluation', state: 'none', why: 'there is no licence', licence: null });

test('a reason becomes a sentence', () => {
  expect(sentence('it expired on 2027-12-31; ask for a new one')).toBe('It expired on 2027-12-31; ask for a new one.');
  expect(sentence('is the clock right?')).toBe('Is the clock right?');
  expect(sentence('Said.')).toBe('Said.');
  expect(sentence(' ')).toBe('');
});

test('the state is headed by what is in force', () => {
  expect(headline(cloud())).toBe('Licence of Norddeutsche Netze: valid');
  expect(headline(none)).toBe('Evaluation: this hub has no licence');
  expect(headline(cloud({ kept: true }))).toBe('Licence of Norddeutsche Netze: valid, from memory');
  expect(headline(cloud({ state: 'expired' }))).toBe('Evaluation. Licence of Norddeutsche Netze: expired');
  expect(headline(cloud({ state: 'expired', kept: true }))).toBe('Evaluation. Licence of Norddeutsche Netze: expired');
});

test.each([
  ['valid', cloud(), 'good'],
  ['evaluation', none, 'off'],
  ['evaluation, and a file that is no licence', { ...none, trouble: 'hub.license: not a licence' }, 'warn'],
  ['ends soon', cloud({ warning: 'it ends in 14 days' }), 'warn'],
  ['grace', cloud({ state: 'grace' }), 'warn'],
  ['the file is gone', cloud({ kept: true }), 'bad'],
  ['the clock is not set right', cloud({ trouble: 'the clock is not synchronised' }), 'warn'],
  ['expired', cloud({ state: 'expired' }), 'bad'],
  ['revoked', cloud({ state: 'revoked' }), 'bad'],
  ['not yet', cloud({ state: 'not_yet' }), 'bad'],
  ['elsewhere', cloud({ state: 'other_machine' }), 'bad'],
  ['a probe’s', cloud({ state: 'other_program' }), 'bad'],
] as const)('how loudly it is said: %s', (_, licence, wanted) => {
  expect(level(licence)).toBe(wanted);
});

test('the line on every page is there when somebody has to see to it, and never empty', () => {
  expect(banner(cloud())).toBeNull();
  expect(banner(none)).toBeNull();
  expect(banner(cloud({ days_left: 14, warning: 'the licence ends in 14 days' }))).toEqual({ level: 'warn', text: 'The licence ends in 14 days.' });
  expect(banner(cloud({ state: 'grace', why: 'it expired on 2027-12-31' }))).toEqual({ level: 'warn', text: 'It expired on 2027-12-31.' });
  expect(banner(cloud({ state: 'expired', why: 'it expired on 2027-12-31', trouble: 'x' }))).toEqual({ level: 'bad', text: 'It expired on 2027-12-31.' });
  expect(banner(cloud({ kept: true, kept_until_ms: now, trouble: '/etc/hub.license: no such file', warning: 'it ends in 7 days' }))).toEqual({
    level: 'bad',
    text: '/etc/hub.license: no such file.',
  });
  expect(banner({ ...none, trouble: 'the file is damaged' })).toEqual({ level: 'warn', text: 'The file is damaged.' });
});

test('seats in words', () => {
  const waiting = { key: 'k', name: 'd', site: '', enrolled_ms: 0, since_ms: 0, pinned: false, reason: '', ahead: 0 };
  expect(seatsWords({ limit: 3, used: 1, waiting: [] })).toBe('1 of 3 seats is taken');
  expect(seatsWords({ limit: 2, used: 0, waiting: [] })).toBe('0 of 2 seats are taken');
  expect(seatsWords({ limit: 1, used: 1, waiting: [waiting] })).toBe('1 of 1 seat is taken, 1 probe waits');
  expect(seatsWords({ limit: 3, used: 3, waiting: [waiting, waiting] })).toBe('3 of 3 seats are taken, 2 probes wait');
});

test('who has a seat is here, or it is kept until', () => {
  const at = (ms: number) => `<${ms - now}>`;
  expect(heldWords({ connected: true, gone_ms: null, kept_until_ms: null }, now, at)).toBe('connected');
  const away = { connected: false, gone_ms: now - 60_000, kept_until_ms: now + 540_000 };
  expect(heldWords(away, now, at)).toBe('away since <-60000>; its seat is kept until <540000>, 9 min more');
  expect(heldWords(away, now + 540_000, at)).toBe('away since <-60000>; its seat is given up');
  expect(heldWords({ connected: false, gone_ms: null, kept_until_ms: null }, now, at)).toBe('away');
});

test('days are counted as people do', () => {
  expect(daysWords(now + 30 * day, now)).toBe(', 30 days left');
  expect(daysWords(now + 29.2 * day, now)).toBe(', 30 days left');
  expect(daysWords(now + day, now)).toBe(', 1 day left');
  expect(daysWords(now + 3 * 3_600_000, now)).toBe(', 3 h left');
  expect(daysWords(now, now)).toBe('');
});

test('what an installation has done', () => {
  expect(installedWords(none, cloud())).toBe('Installed: licence L-7 of Norddeutsche Netze, 3 seats. It acts now; nothing has to be restarted.');
  expect(installedWords(cloud(), cloud({ revocations: 2 }))).toBe('The list of revoked licences, number 2, is in force.');
  expect(installedWords(cloud(), cloud())).toBe('Taken. It was in force already.');
});

test('the seat of a probe', () => {
  expect(seatWords({ seat: 'held', pinned: true, reason: '' })).toBe('has one, pinned');
  expect(seatWords({ seat: 'waiting', pinned: false, reason: 'all 3 seats are taken' })).toBe('waits for one: all 3 seats are taken');
  expect(seatWords({ seat: 'own', pinned: false, reason: '' })).toBe('needs none: it has a licence of its own');
});
