// SPDX-License-Identifier: Apache-2.0
import { expect, test } from 'vitest';
import { fromForm, inWords, same, toForm } from './configuration';

test('values in words', () => {
  expect(inWords('filter', '')).toBe('all packets');
  expect(inWords('filter', 'udp')).toBe('udp');
  expect(inWords('filter', undefined)).toBe('');
  expect(inWords('sampling', 1)).toBe('all packets');
  expect(inWords('sampling', 10)).toBe('1 of 10 packets');
  expect(inWords('idle_s', 15)).toBe('15\u00a0s');
  expect(inWords('template', 'v9')).toBe('those of NetFlow v9');
  expect(inWords('template', 'of a later hub')).toBe('of a later hub');
});

test('an empty filter is set, one that is left out is not', () => {
  const form = toForm({ filter: '', sampling: 10 }, { filter: 'udp', sampling: 1, active_s: 60, idle_s: 15, template: 'all' });
  expect(form.filter).toEqual({ here: true, text: '' });
  expect(form.active_s).toEqual({ here: false, text: '60' });
  expect(fromForm(form)).toEqual({ settings: { filter: '', sampling: 10 }, problem: '' });
});

test('a form goes there and back', () => {
  const own = { filter: 'tcp', sampling: 7, active_s: 30, idle_s: 5, template: 'v9' };
  expect(same(fromForm(toForm(own, {})).settings, own)).toBe(true);
  expect(same(fromForm(toForm({}, own)).settings, {})).toBe(true);
  expect(same(own, { ...own, idle_s: 6 })).toBe(false);
});

test('what cannot be meant is named', () => {
  const form = toForm({ sampling: 10 }, {});
  for (const text of ['0', '', '1.5', 'ten', '1000001', '-3']) {
    form.sampling.text = text;
    expect(fromForm(form).problem).toBe('Sampling: a whole number from 1 to 1000000 is expected.');
  }
  form.sampling.here = false; // whatever stands there
  expect(fromForm(form).problem).toBe('');
});
