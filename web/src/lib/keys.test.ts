// SPDX-License-Identifier: Apache-2.0
import { expect, it, vi } from 'vitest';
import { Keys } from './keys';

const press = (key: string, more: object = {}) =>
  ({ key, ctrlKey: false, metaKey: false, altKey: false, target: null, preventDefault: vi.fn(), ...more });

it('acts on one key and on two in a row', () => {
  const [slash, overview, o] = [vi.fn(), vi.fn(), vi.fn()];
  const keys = new Keys({ '/': slash, 'g o': overview, o });
  const event = press('/');
  keys.press(event, 1);
  expect(slash).toHaveBeenCalledOnce();
  expect(event.preventDefault).toHaveBeenCalled();
  keys.press(press('g'), 1000);
  keys.press(press('o'), 1200);
  expect(overview).toHaveBeenCalledOnce();
  expect(o).not.toHaveBeenCalled();
});

it('forgets the first of two after a while', () => {
  const overview = vi.fn();
  const keys = new Keys({ 'g o': overview });
  keys.press(press('g'), 0);
  keys.press(press('o'), 5000);
  expect(overview).not.toHaveBeenCalled();
});

it('leaves writing and other combinations alone', () => {
  const slash = vi.fn();
  const keys = new Keys({ '/': slash });
  keys.press(press('/', { target: { tagName: 'INPUT' } }));
  keys.press(press('/', { ctrlKey: true }));
  keys.press(press('toString'));
  expect(slash).not.toHaveBeenCalled();
});
