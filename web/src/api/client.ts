// SPDX-License-Identifier: Apache-2.0
// One function asks the hub. Methods, paths, parameters and answers are those of spec/openapi.json.

import { base, operations, type Error as ErrorBody, type Operations } from './types';

export type Name = keyof Operations;
type Given<T> = T extends undefined ? unknown : T;
export type Ask<K extends Name> = Partial<{
  inPath: Given<Operations[K]['inPath']>;
  inQuery: Given<Operations[K]['inQuery']>;
  body: Given<Operations[K]['body']>;
  signal: AbortSignal;
}>;

/** The hub answered, with a refusal: its own sentence. */
export class Refusal extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly field?: string,
  ) {
    super(message);
  }
}

/** The hub did not answer, or something else did. */
export class Unreachable extends Error {}

/** Told of every outcome, so that one place can say that the hub is away or the session over. */
export const watchers = {
  answered: () => {},
  unreachable: () => {},
  signedOut: () => {},
};

let csrfToken = '';
export function setCsrfToken(token: string) {
  csrfToken = token;
}

export function address(name: Name, ask: { inPath?: unknown; inQuery?: unknown } = {}): string {
  const inPath = (ask.inPath ?? {}) as Record<string, unknown>;
  const path = operations[name][1].replace(/\{(\w+)\}/g, (_, key: string) => encodeURIComponent(String(inPath[key])));
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries((ask.inQuery ?? {}) as Record<string, unknown>))
    if (value !== undefined && value !== '') query.set(key, String(value));
  const text = query.toString();
  return base + path + (text ? '?' + text : '');
}

export async function call<K extends Name>(name: K, ask: Ask<K> = {}): Promise<Operations[K]['answer']> {
  const method = operations[name][0];
  const headers: Record<string, string> = { Accept: 'application/json' };
  if (ask.body !== undefined) headers['Content-Type'] = 'application/json';
  if (method !== 'GET') headers['X-CSRF-Token'] = csrfToken;
  let response: Response;
  let text: string;
  try {
    response = await fetch(address(name, ask), {
      method,
      headers,
      credentials: 'same-origin',
      cache: 'no-store',
      body: ask.body === undefined ? null : JSON.stringify(ask.body),
      signal: ask.signal ?? null,
    });
    text = await response.text();
  } catch (cause) {
    if (ask.signal?.aborted) throw cause;
    watchers.unreachable();
    throw new Unreachable('The hub does not answer.', { cause });
  }
  watchers.answered();
  if (!response.ok) throw refusal(name, response.status, text);
  if (!response.headers.get('Content-Type')?.startsWith('application/json')) return text as Operations[K]['answer'];
  return JSON.parse(text) as Operations[K]['answer'];
}

function refusal(name: Name, status: number, text: string): Refusal {
  if (status === 401 && name !== 'login') watchers.signedOut();
  try {
    const { error } = JSON.parse(text) as ErrorBody;
    return new Refusal(status, error.code, error.message, error.field);
  } catch {
    return new Refusal(status, 'unknown', `The hub answered ${status} without saying why.`);
  }
}

/** What went wrong, as one sentence for people. */
export function inWords(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
