// SPDX-License-Identifier: Apache-2.0
// What the numbers of a flow mean, in words.

import { protocols } from '../api/protocols';
import type { Flow } from '../api/types';

export const appName = (flow: Flow) => flow.app_name || 'Unknown';

export const protocolName = (number: number) => protocols[number] ?? `protocol ${number}`;

const withPorts = new Set([6, 17, 132, 33, 136]);
export const portName = (flow: Flow) => withPorts.has(flow.protocol);

// RFC 9293, and ECN of RFC 3168 and RFC 9768
const flags = ['FIN', 'SYN', 'RST', 'PSH', 'ACK', 'URG', 'ECE', 'CWR', 'AE'];
export function tcpFlags(bits: number): string {
  return flags.filter((_, i) => bits & (1 << i)).join(' ') || 'none';
}

// RFC 5102, flowEndReason
const reasons = ['', 'idle: no packet for a while', 'still going on when the record was made', 'ended by the hosts', 'the probe was stopped', 'the probe ran out of room'];
export const endReason = (number: number) => reasons[number] || `reason ${number}`;
