// SPDX-License-Identifier: Apache-2.0
import { afterEach, expect, it, vi } from 'vitest';
import { licenceNow } from './licence.svelte';

afterEach(() => void vi.unstubAllGlobals());

it('keeps nothing of an answer that comes after the logout', async () => {
  const replies: ((response: Response) => void)[] = [];
  vi.stubGlobal('document', { hidden: false });
  vi.stubGlobal('fetch', () => new Promise<Response>((resolve) => replies.push(resolve)));
  const reply = (i: number, status: number, body: string) =>
    replies[i]?.(new Response(body, { status, headers: { 'Content-Type': 'application/json' } }));
  const settled = () => new Promise((resolve) => setTimeout(resolve, 20));

  licenceNow.start();
  reply(0, 200, '{"mode":"cloud"}');
  await settled();
  expect(licenceNow.answer).toEqual({ mode: 'cloud' });

  void licenceNow.ask();
  licenceNow.stop();
  reply(1, 200, '{"mode":"cloud"}');
  await settled();
  expect(licenceNow.answer).toBeNull();

  licenceNow.start();
  licenceNow.stop();
  reply(2, 401, '{"error":{"code":"signed_out","message":"Sign in."}}');
  await settled();
  expect(licenceNow.problem).toBe('');
});
