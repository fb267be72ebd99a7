// SPDX-License-Identifier: Apache-2.0
import { expect, it } from 'vitest';
import { endReason, protocolName, tcpFlags } from './flow';

it('names flags, protocols and reasons', () => {
  expect(tcpFlags(0x1b)).toBe('FIN SYN PSH ACK');
  expect(tcpFlags(0)).toBe('none');
  expect(protocolName(6)).toBe('TCP');
  expect(protocolName(58)).toBe('IPv6-ICMP');
  expect(protocolName(253)).toMatch(/^protocol 253$|experiment/i);
  expect(endReason(1)).toContain('idle');
  expect(endReason(77)).toBe('reason 77');
});
