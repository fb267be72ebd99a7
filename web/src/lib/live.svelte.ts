// SPDX-License-Identifier: Apache-2.0
// The live view of the hub: the last five minutes second by second, the newest flows, the probes.
// Loaded once from /live, then carried on by server-sent events. Order matters at the start: the
// stream is opened first and /live read after, so that no second falls between the two.

import { call, Refusal } from '../api/client';
import { base, type Flow, type LiveTick, type Probe } from '../api/types';
import { hub } from './hub.svelte';

export const seconds = 300;
const flowsKept = 50;
const quietMs = 15_000;
const hiddenMs = 20_000;

interface Frame {
  ticks: LiveTick[];
  flows: Flow[];
  atMs: number;
}

class Live {
  ticks = $state.raw<LiveTick[]>([]);
  flows = $state.raw<Flow[]>([]);
  probes = $state.raw<Probe[]>([]);
  loaded = $state(false);
  stream = $state<'connecting' | 'open' | 'lost'>('connecting');
  /** counts changes of probes, for pages that ask for more about them */
  probesChanged = $state(0);
  /** what was shown when the page was paused */
  frozen = $state.raw<Frame | null>(null);

  shown = $derived<Frame>(this.frozen ?? { ticks: this.ticks, flows: this.flows, atMs: hub.now });
  last = $derived(this.shown.ticks[this.shown.ticks.length - 1]);

  #source: EventSource | null = null;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #hidden: ReturnType<typeof setTimeout> | undefined;
  #waitMs = 500;
  #heardMs = 0;
  #running = false;

  constructor() {
    setInterval(() => void this.#watch(), 5000);
    // A hidden page gives its connection back: browsers allow only six to one host over all tabs.
    document.addEventListener('visibilitychange', () => {
      clearTimeout(this.#hidden);
      if (document.hidden) this.#hidden = setTimeout(() => this.#close(), hiddenMs);
      else if (this.#running && !this.#source) this.#open();
    });
  }

  start() {
    if (this.#running) return;
    this.#running = true;
    this.#open();
  }

  stop() {
    this.#running = false;
    this.loaded = false;
    this.frozen = null;
    this.#close();
  }

  pause(paused: boolean) {
    if (paused) this.frozen ??= { ticks: this.ticks, flows: this.flows, atMs: hub.clock() };
    else this.frozen = null;
  }

  #close() {
    clearTimeout(this.#retry);
    this.#source?.close();
    this.#source = null;
  }

  #open() {
    this.#close();
    const source = new EventSource(`${base}/live/events`);
    this.#source = source;
    const on = <T>(name: string, take: (data: T) => void) =>
      source.addEventListener(name, (event) => {
        this.#heardMs = Date.now();
        take(JSON.parse((event as MessageEvent<string>).data) as T);
      });
    on<LiveTick>('tick', (tick) => this.#addTicks([tick]));
    on<Flow[]>('flows', (flows) => this.#addFlows(flows));
    on<Probe[] | Probe>('probes', (probes) => {
      if (Array.isArray(probes)) this.probes = probes;
      else void this.#loadProbes();
      this.probesChanged++;
    });
    on<unknown>('dropped', () => void this.#load(source));
    source.onopen = () => void this.#load(source);
    source.onerror = () => this.#again(source);
  }

  async #load(source: EventSource) {
    try {
      const live = await call('getLive');
      if (this.#source !== source) return;
      hub.offset = live.now_ms - Date.now();
      this.#addTicks(live.ticks);
      this.flows = live.flows;
      this.probes = live.probes;
      this.probesChanged++;
      this.loaded = true;
      this.stream = 'open';
      this.#heardMs = Date.now();
      this.#waitMs = 500;
    } catch {
      if (this.#source === source) this.#again(source);
    }
  }

  async #loadProbes() {
    try {
      this.probes = await call('getProbes');
    } catch {
      /* said by the bar already; the next event asks again */
    }
  }

  /** The stream broke. The browser's own retry gives up on some answers; this one does not. */
  #again(source: EventSource) {
    if (this.#source !== source) return;
    this.#close();
    this.stream = 'lost';
    this.#retry = setTimeout(() => {
      if (this.#running) void this.#knock();
    }, this.#waitMs);
    this.#waitMs = Math.min(this.#waitMs * 2, 5000);
  }

  async #knock() {
    try {
      await call('getSession');
      if (this.#running) this.#open();
    } catch (cause) {
      if (cause instanceof Refusal && cause.status === 401) return;
      this.#retry = setTimeout(() => {
        if (this.#running) void this.#knock();
      }, this.#waitMs);
      this.#waitMs = Math.min(this.#waitMs * 2, 5000);
    }
  }

  /** Nothing heard for long may be a quiet network or a dead connection: ask. */
  async #watch() {
    const source = this.#source;
    if (!source || this.stream !== 'open' || Date.now() - this.#heardMs < quietMs) return;
    this.#heardMs = Date.now();
    try {
      await call('getHealth');
    } catch {
      this.#again(source);
    }
  }

  #addTicks(fresh: LiveTick[]) {
    const all = new Map(this.ticks.map((tick) => [tick.time_ms, tick]));
    for (const tick of fresh) all.set(tick.time_ms, tick);
    const from = hub.clock() - (seconds + 1) * 1000;
    this.ticks = [...all.values()].filter((tick) => tick.time_ms >= from).sort((a, b) => a.time_ms - b.time_ms);
  }

  #addFlows(fresh: Flow[]) {
    this.flows = [...fresh].sort((a, b) => b.last_ms - a.last_ms).concat(this.flows).slice(0, flowsKept);
  }
}

export const live = new Live();
