// SPDX-License-Identifier: Apache-2.0
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { address, call, inWords, Refusal, setCsrfToken, Unreachable, watchers } from './client';

let sent: { url: string; init: RequestInit }[] = [];

function answer(status: number, body: string, type = 'application/json') {
  vi.stubGlobal('fetch', (url: string, init: RequestInit) => {
    sent.push({ url, init });
    return Promise.resolve(new Response(body, { status, headers: { 'Content-Type': type } }));
  });
}

beforeEach(() => {
  sent = [];
  Object.assign(watchers, { answered: vi.fn(), unreachable: vi.fn(), signedOut: vi.fn() });
});
afterEach(() => void vi.unstubAllGlobals());

it('fills path and query, and leaves out what is not given', () => {
  expect(address('getInterface', { inPath: { id: 3 }, inQuery: { address: 'a b&c' } })).toBe('/api/v1/interfaces/3?address=a+b%26c');
  expect(address('getFlows', { inQuery: { filter: '', from: 0, to: undefined } })).toBe('/api/v1/flows?from=0');
});

it('proves changes with the token, and only those', async () => {
  answer(200, '{"closed":true}');
  setCsrfToken('secret');
  expect(await call('logout')).toEqual({ closed: true });
  await call('getProbes');
  const token = (i: number) => (sent[i]?.init.headers as Record<string, string>)['X-CSRF-Token'];
  expect(token(0)).toBe('secret');
  expect(token(1)).toBeUndefined();
});

it('hands on what the hub says is wrong', async () => {
  answer(400, '{"error":{"code":"invalid","message":"No such field: colour.","field":"filter"}}');
  const refusal = await call('getFlows', { inQuery: { filter: 'colour = 1' } }).catch((cause: unknown) => cause);
  expect(refusal).toBeInstanceOf(Refusal);
  expect(refusal).toMatchObject({ status: 400, code: 'invalid', field: 'filter' });
  expect(inWords(refusal)).toBe('No such field: colour.');
});

it('has words for an answer without any', async () => {
  answer(502, '<html>bad gateway</html>', 'text/html');
  expect(inWords(await call('getProbes').catch((cause: unknown) => cause))).toBe('The hub answered 502 without saying why.');
});

it('tells when the session is over, but not when a login is refused', async () => {
  const body = '{"error":{"code":"unauthorized","message":"Sign in."}}';
  answer(401, body);
  await call('getProbes').catch(() => {});
  expect(watchers.signedOut).toHaveBeenCalledTimes(1);
  await call('login', { body: { name: 'a', password: 'b' } }).catch(() => {});
  expect(watchers.signedOut).toHaveBeenCalledTimes(1);
});

it('tells when the hub does not answer, but not when the question was given up', async () => {
  vi.stubGlobal('fetch', () => Promise.reject(new TypeError('network')));
  await expect(call('getProbes')).rejects.toBeInstanceOf(Unreachable);
  expect(watchers.unreachable).toHaveBeenCalledTimes(1);
  const abort = new AbortController();
  abort.abort();
  await expect(call('getProbes', { signal: abort.signal })).rejects.toBeInstanceOf(TypeError);
  expect(watchers.unreachable).toHaveBeenCalledTimes(1);
});
