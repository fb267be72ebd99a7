// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest';
import { quote, tokens, withTest, without } from './filter';

const texts = (filter: string) => tokens(filter).map((token) => token.text);

describe('tokens', () => {
  it('is empty for no filter', () => expect(tokens('  ')).toEqual([]));

  it('cuts at the top-level ands', () =>
    expect(texts('app = "TLS" and bytes > 1M AND not src_ip in 10.0.0.0/8 && port = 53')).toEqual([
      'app = "TLS"', 'bytes > 1M', 'not src_ip in 10.0.0.0/8', 'port = 53',
    ]));

  it('keeps brackets together', () =>
    expect(texts('(app = DNS or app = TLS) and port in (53, 443)')).toEqual([
      '(app = DNS or app = TLS)', 'port in (53, 443)',
    ]));

  it('does not cut inside text', () =>
    expect(texts('server_name = "black and white" and vlan = 2')).toEqual([
      'server_name = "black and white"', 'vlan = 2',
    ]));

  it('leaves alternatives whole', () =>
    expect(texts('app = DNS or app = TLS and port = 443')).toEqual(['app = DNS or app = TLS and port = 443']));

  it.each(['app = "TLS', 'and', 'a = 1 and', '(a = 1', 'a = 1)', 'a = 1 & b = 2'])(
    'leaves what it cannot read whole: %s', (filter) => expect(texts(filter)).toEqual([filter]));

  it('reads field and value', () => {
    expect(tokens('app != "a\\"b"')[0]).toMatchObject({ field: 'app', op: '!=', value: 'a"b' });
    expect(tokens('ip == 2001:db8::1')[0]).toMatchObject({ field: 'ip', op: '=', value: '2001:db8::1' });
    expect(tokens('bytes > 1M')[0]?.field).toBeUndefined();
  });
});

describe('quote', () => {
  it.each([
    [443, '443'],
    ['10.0.0.1', '10.0.0.1'],
    ['2001:db8::1', '2001:db8::1'],
    ['::ffff:10.0.0.1', '::ffff:10.0.0.1'],
    ['TLS', '"TLS"'],
    ['say "x\\y"', '"say \\"x\\\\y\\""'],
  ])('%s', (value, text) => expect(quote(value)).toBe(text));
});

describe('withTest', () => {
  it('starts a filter', () => expect(withTest('', 'ip', '10.0.0.1')).toBe('ip = 10.0.0.1'));
  it('adds a test', () =>
    expect(withTest('bytes > 1M', 'app', 'TLS')).toBe('bytes > 1M and app = "TLS"'));
  it('replaces "only" of the same field', () =>
    expect(withTest('app = "DNS" and port = 53', 'app', 'TLS')).toBe('port = 53 and app = "TLS"'));
  it('excludes one by one', () =>
    expect(withTest('app != "DNS"', 'app', 'TLS', true)).toBe('app != "DNS" and app != "TLS"'));
  it('turns "not this" into "only this"', () =>
    expect(withTest('app != "TLS"', 'app', 'TLS')).toBe('app = "TLS"'));
  it('turns "only this" into "not this"', () =>
    expect(withTest('app = "TLS"', 'app', 'TLS', true)).toBe('app != "TLS"'));
  it('puts alternatives into brackets', () =>
    expect(withTest('app = DNS or port = 53', 'ip', '10.0.0.1')).toBe('(app = DNS or port = 53) and ip = 10.0.0.1'));
  it('does so once', () =>
    expect(withTest('(a = 1 or b = 2) and ip = 10.0.0.1', 'ip', '10.0.0.2')).toBe('(a = 1 or b = 2) and ip = 10.0.0.2'));
});

it('removes one token', () => expect(without('a = 1 and b > 2 and c = 3', 1)).toBe('a = 1 and c = 3'));
