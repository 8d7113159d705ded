/** What a client needs of the world around it. The default reaches for what browsers, Node, Bun and Deno have alike. */
export interface Environment {
  /** ms; of use for differences only. */
  now(): number;
  /** Runs something once, `ms` from now; returns what takes it back. */
  after(ms: number, run: () => void): () => void;
  /** In [0, 1). */
  random(): number;
  readonly fetch: typeof fetch;
  /** Absent where there is none; then the next transport is taken. */
  readonly WebSocket: (new (url: string, protocols?: string | string[]) => WebSocketLike) | undefined;
  /** Runs when the network comes back or the page is seen again; returns what takes it back. */
  onWake(run: () => void): () => void;
  /** Runs when the page is about to go; returns what takes it back. */
  onLeave(run: () => void): () => void;
  /** Asks to be the only one of this origin that holds `name`; `isPatient`: waits until whoever holds it is gone. */
  lock(name: string, isPatient: boolean): Lock;
  /** What other pages of this origin say under `name`; absent where there are none. */
  readonly channel: ((name: string, onMessage: (message: unknown) => void) => Channel) | undefined;
}

export interface Channel {
  /** To all others that listen to the name. */
  send(message: unknown): void;
  close(): void;
}

export interface Lock {
  /** Whether it is held; of a patient one that is released before it was, it never settles. */
  readonly held: Promise<boolean>;
  release(): void;
}

/** As much of a WebSocket as is used. */
export interface WebSocketLike {
  readonly bufferedAmount: number;
  onopen: ((event: never) => void) | null;
  onmessage: ((event: { readonly data: unknown }) => void) | null;
  onclose: ((event: { readonly code: number; readonly reason: string }) => void) | null;
  onerror: ((event: never) => void) | null;
  send(data: string): void;
  close(code?: number, reason?: string): void;
}

interface EventSource {
  addEventListener?(type: string, run: () => void): void;
  removeEventListener?(type: string, run: () => void): void;
}

interface Broadcast {
  onmessage: ((event: { readonly data: unknown }) => void) | null;
  postMessage(message: unknown): void;
  close(): void;
}

interface LockManager {
  request(
    name: string,
    options: { readonly ifAvailable?: boolean; readonly signal?: AbortSignal },
    run: (lock: object | null) => unknown,
  ): Promise<unknown>;
}

interface Surroundings extends EventSource {
  readonly BroadcastChannel?: new (name: string) => Broadcast;
  readonly navigator?: { readonly locks?: LockManager };
  readonly WebSocket?: Environment['WebSocket'];
  readonly document?: EventSource & { readonly visibilityState: string };
}

export const surroundings: Environment = {
  now: () => performance.now(),
  after(ms, run) {
    const timer = setTimeout(run, ms);
    return () => clearTimeout(timer);
  },
  random: Math.random,
  fetch: (...call) => fetch(...call),
  get WebSocket() {
    return (globalThis as Surroundings).WebSocket;
  },
  onWake: run => listen('online', 'visible', run),
  onLeave: run => listen('pagehide', 'hidden', run),
  lock(name, isPatient) {
    const here = globalThis as Surroundings;
    const locks = here.document === undefined ? undefined : here.navigator?.locks;
    // where there are no tabs nobody else is there
    if (locks === undefined) return { held: Promise.resolve(true), release() {} };
    const abort = new AbortController();
    let release = (): void => abort.abort();
    const held = new Promise<boolean>(resolve => {
      const holding = locks.request(name, isPatient ? { signal: abort.signal } : { ifAvailable: true }, lock => {
        resolve(lock !== null);
        return lock === null ? undefined : new Promise<void>(end => (release = end));
      });
      // released while it waited
      holding.catch(() => {});
    });
    return { held, release: () => release() };
  },
  get channel() {
    const { document, navigator, BroadcastChannel } = globalThis as Surroundings;
    if (document === undefined || navigator?.locks === undefined || BroadcastChannel === undefined) return undefined;
    return (name: string, onMessage: (message: unknown) => void) => {
      const channel = new BroadcastChannel(name);
      channel.onmessage = ({ data }) => onMessage(data);
      return { send: (message: unknown) => channel.postMessage(message), close: () => channel.close() };
    };
  },
};

/** Runs at each event of this type, and each time the page becomes `visibility`; returns what ends it. */
function listen(type: string, visibility: string, run: () => void): () => void {
  const here = globalThis as Surroundings;
  const { document } = here;
  const changed = (): void => {
    if (document!.visibilityState === visibility) run();
  };
  here.addEventListener?.(type, run);
  document?.addEventListener?.('visibilitychange', changed);
  return () => {
    here.removeEventListener?.(type, run);
    document?.removeEventListener?.('visibilitychange', changed);
  };
}
