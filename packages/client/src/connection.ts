import type { ServerFrame } from '@tailrace/protocol';
import { nextAttemptIn } from './backoff.ts';
import type { Endpoints } from './endpoints.ts';
import type { Environment } from './environment.ts';
import { lost, TailraceError } from './errors.ts';
import type { Ladder } from './ladder.ts';
import { type ConnectionAction, type ConnectionEvent, type ConnectionState, transitions } from './machine.ts';
import type {
  Link,
  LinkListener,
  Loss,
  Published,
  Transport,
  Welcome,
  WireSubscription,
} from './transports/transport.ts';

export interface ConnectionHost {
  /** Whether there is anything to receive or to publish. */
  readonly isNeeded: boolean;
  /** What is to be received; `canHold`: also what the application does not take just now. */
  wanted(canHold: boolean): readonly WireSubscription[];
  onFrame(frame: ServerFrame): void;
  onPublished(answer: Published): void;
  /** What the server said first; `onReady` follows. */
  onWelcome?(welcome: Welcome): void;
  /** Connected; `isBare`: by a connection that was asked for nothing yet. */
  onReady(isBare: boolean): void;
  /** What was asked for and not answered will not be. */
  onGone(): void;
  onFailed(error: TailraceError): void;
  onState(state: ConnectionState, reason: TailraceError | undefined): void;
}

export interface ConnectionOptions {
  readonly endpoints: Endpoints;
  readonly environment: Environment;
  readonly ladder: Ladder;
  readonly token: (() => string | Promise<string>) | undefined;
  readonly client: { readonly name: string; readonly version: string };
  /** Keeps what worked. */
  readonly onWorked: (transport: string, endpoint: string) => void;
}

/** For a token, and to choose among endpoints, ms. */
const prepareWithin = 10_000;
/** An attempt that has no welcome by then is given up, ms. */
const welcomeWithin = 3500;
/** A connection that lasts so long counts as good, ms. */
const goodAfter = 5000;
/** ms; a server answers each publish within its `publish.deadline`, which is less. */
const answerWithin = 30_000;
/** A server that is asked for a sign of life has so long, ms. */
const pongWithin = 5000;

type Timer = 'next' | 'welcome' | 'good' | 'silence' | 'better' | 'pong' | 'answer' | 'endpoint';

/** Keeps one connection to the server while one is needed (`machine.ts`), by the best transport that works. */
export class Connection {
  state: ConnectionState = 'disconnected';
  readonly #o: ConnectionOptions;
  readonly #host: ConnectionHost;
  readonly #timers = new Map<Timer, () => void>();
  readonly #stopWake: () => void;
  /** The connection, or what may become it. */
  #attempt: Attempt | undefined;
  /** A better transport that is tried beside the connection. */
  #better: Attempt | undefined;
  /** Since the last connection that was good. */
  #failures = 0;
  #wasConnected = false;
  #heard = 0;
  #session: string | undefined;

  constructor(options: ConnectionOptions, host: ConnectionHost) {
    this.#o = options;
    this.#host = host;
    this.#stopWake = options.environment.onWake(() => this.handle('woken'));
  }

  /** What carries frames, or will; undefined between two attempts. */
  get link(): Link | undefined {
    return this.#attempt?.link;
  }

  get transport(): Transport | undefined {
    return this.#attempt?.transport;
  }

  handle(event: ConnectionEvent, loss?: Loss): void {
    const transition = transitions[this.state][event];
    if (transition === undefined) return;
    const [to, ...actions] = transition;
    const changes = to !== this.state;
    this.state = to;
    for (const action of actions) this.#does[action](loss);
    if (changes) this.#host.onState(to, loss?.error);
    if (event === 'opened') this.#host.onReady(false);
  }

  /** Of a connected one; its answer is `onPublished`, or it is lost. */
  publish(messages: readonly unknown[]): void {
    const attempt = this.#attempt!;
    this.#start('answer', answerWithin, () =>
      this.#lost(attempt, { error: lost('a publish was not answered') }, false),
    );
    attempt.link!.publish(messages);
  }

  readonly #does: Readonly<Record<ConnectionAction, (loss: Loss | undefined) => void>> = {
    dial: () => {
      if (this.#attempt !== undefined) return;
      this.#stop('next');
      const attempt = new Attempt(this.#o.ladder.current);
      this.#attempt = attempt;
      this.#waitForWelcome(attempt, prepareWithin + welcomeWithin);
      this.#open(attempt);
    },
    wait: loss => {
      const { random } = this.#o.environment;
      const ms = nextAttemptIn(++this.#failures, !this.#wasConnected, loss?.retryAfter, random);
      this.#start('next', ms, () => this.handle('due'));
    },
    settle: () => {
      this.#wasConnected = true;
      this.#stop('welcome');
      this.#start('good', goodAfter, () => this.#isGood());
      this.#lookForBetter();
      this.#lookForNearer();
    },
    look: () => {
      const heard = this.#heard;
      if (this.link?.ping() !== true) return;
      this.#start('pong', pongWithin, () => {
        if (this.#heard === heard) this.#lost(this.#attempt!, { error: lost('the server does not answer') }, true);
      });
    },
    drop: () => {
      for (const stop of this.#timers.values()) stop();
      this.#timers.clear();
      this.#attempt?.close();
      this.#better?.close();
      this.#attempt = this.#better = undefined;
      this.#host.onGone();
    },
    fail: loss => {
      this.#stopWake();
      this.#host.onFailed(loss?.error ?? new TailraceError('closed', 'the client was closed'));
    },
  };

  #open(attempt: Attempt): void {
    const { endpoints, token } = this.#o;
    const endpoint = endpoints.choose();
    // without a word to wait for, the attempt begins in this very turn
    if (token === undefined && typeof endpoint === 'string') {
      this.#dial(attempt, endpoint, undefined);
      return;
    }
    Promise.all([endpoint, token?.()])
      .then(([url, secret]) => this.#dial(attempt, url, secret))
      .catch(cause => this.#lost(attempt, { error: lost('there is no token', cause) }, false));
  }

  #dial(attempt: Attempt, endpoint: string, token: string | undefined): void {
    if (attempt.isOver) return;
    const { environment, client } = this.#o;
    const { transport } = attempt;
    if (attempt === this.#attempt) this.#waitForWelcome(attempt, welcomeWithin);
    attempt.link = transport.open({
      endpoint,
      environment,
      token,
      connect: { client, ...(this.#session === undefined ? {} : { previous: this.#session }) },
      wanted: () => (attempt === this.#attempt ? this.#host.wanted(transport.canHold) : []),
      listener: this.#listener(attempt),
    });
  }

  #waitForWelcome(attempt: Attempt, ms: number): void {
    this.#start('welcome', ms, () => this.#lost(attempt, { error: lost('no answer in time') }, true));
  }

  #listener(attempt: Attempt): LinkListener {
    const { random } = this.#o.environment;
    return {
      onWelcome: welcome => {
        this.#hear();
        if (!attempt.isOver) this.#welcomed(attempt, welcome);
      },
      onFrame: frame => {
        if (attempt.isOver) return;
        this.#hear();
        if (frame.type === 'drain')
          this.#lost(
            attempt,
            { error: lost('the server is shutting down'), retryAfter: random() * frame.within },
            false,
          );
        else this.#host.onFrame(frame);
      },
      onAlive: () => this.#hear(),
      onPublished: answer => {
        this.#hear();
        if (attempt.isOver) return;
        this.#stop('answer');
        this.#host.onPublished(answer);
      },
      onLost: loss => this.#lost(attempt, loss, false),
    };
  }

  #welcomed(attempt: Attempt, welcome: Welcome): void {
    const { session, heartbeat } = welcome;
    this.#host.onWelcome?.(welcome);
    this.#session = session ?? this.#session;
    this.#watch(heartbeat);
    if (attempt === this.#attempt) {
      this.handle('opened');
      return;
    }
    this.#host.onGone();
    this.#attempt!.close();
    this.#attempt = attempt;
    this.#better = undefined;
    this.#isGood();
    this.#lookForBetter();
    this.#host.onReady(true);
  }

  #lost(attempt: Attempt, loss: Loss, isSilent: boolean): void {
    if (attempt.isOver) return;
    attempt.close();
    if (attempt === this.#better) {
      this.#better = undefined;
      this.#lookForBetter();
      return;
    }
    // one that was good comes back by itself
    if (!this.#isProven) {
      this.#o.ladder.failed(isSilent);
      this.#o.endpoints.failed();
    }
    if (loss.isFinal === true) this.handle('refused', loss);
    else this.handle(this.#host.isNeeded ? 'lost' : 'idle', loss);
  }

  /** The connection has lasted. */
  get #isProven(): boolean {
    return this.state === 'connected' && !this.#timers.has('good');
  }

  #isGood(): void {
    const { transport } = this.#attempt!;
    this.#stop('good');
    this.#failures = 0;
    this.#o.ladder.worked(transport);
    this.#o.endpoints.worked();
    this.#o.onWorked(transport.name, this.#o.endpoints.current!);
  }

  #lookForNearer(): void {
    const { endpoints } = this.#o;
    if (endpoints.lookIn === undefined) return;
    this.#start('endpoint', endpoints.lookIn, async () => {
      const attempt = this.#attempt;
      const moves = await endpoints.look();
      if (attempt !== this.#attempt || attempt === undefined) return;
      if (moves) this.#lost(attempt, { error: lost('another endpoint is nearer'), retryAfter: 0 }, false);
      else this.#lookForNearer();
    });
  }

  #lookForBetter(): void {
    const { lookIn, better } = this.#o.ladder;
    this.#stop('better');
    if (lookIn === undefined) return;
    this.#start('better', lookIn, () => {
      const attempt = new Attempt(better[0]!);
      this.#better = attempt;
      this.#start('better', welcomeWithin, () => this.#lost(attempt, { error: lost('no answer in time') }, true));
      this.#open(attempt);
    });
  }

  #hear(): void {
    this.#heard = this.#o.environment.now();
  }

  /** A server that is silent for two heartbeats is gone. */
  #watch(heartbeat: number): void {
    this.#start('silence', heartbeat, () => {
      const silence = this.#o.environment.now() - this.#heard;
      if (silence > 2 * heartbeat) this.#lost(this.#attempt!, { error: lost('the server fell silent') }, false);
      else this.#watch(heartbeat);
    });
  }

  #start(timer: Timer, ms: number, run: () => void): void {
    this.#stop(timer);
    const stop = this.#o.environment.after(ms, () => {
      this.#timers.delete(timer);
      run();
    });
    this.#timers.set(timer, stop);
  }

  #stop(timer: Timer): void {
    this.#timers.get(timer)?.();
    this.#timers.delete(timer);
  }
}

/** One try to connect, and the connection that comes of it. */
class Attempt {
  readonly transport: Transport;
  link: Link | undefined;
  isOver = false;

  constructor(transport: Transport) {
    this.transport = transport;
  }

  close(): void {
    this.isOver = true;
    this.link?.close();
  }
}
