// SPDX-License-Identifier: Apache-2.0
// Keys for the whole page: single ones, and two in a row ("g o"). Never while something is written.

const pauseMs = 1500;

interface Press {
  key: string;
  ctrlKey: boolean;
  metaKey: boolean;
  altKey: boolean;
  target: EventTarget | null;
  preventDefault(): void;
}

function writes(target: EventTarget | null): boolean {
  const element = target as { tagName?: string; isContentEditable?: boolean } | null;
  return /^(INPUT|TEXTAREA|SELECT)$/.test(element?.tagName ?? '') || element?.isContentEditable === true;
}

export class Keys {
  #first = '';
  #atMs = 0;

  constructor(readonly actions: Record<string, () => void>) {}

  press(event: Press, nowMs = Date.now()) {
    if (event.ctrlKey || event.metaKey || event.altKey || writes(event.target)) return;
    const pair = nowMs - this.#atMs < pauseMs ? `${this.#first} ${event.key}` : '';
    const name = [pair, event.key].find((each) => Object.hasOwn(this.actions, each));
    this.#first = name ? '' : event.key;
    this.#atMs = nowMs;
    if (!name) return;
    event.preventDefault();
    this.actions[name]?.();
  }
}
