/**
 * Where a session's bytes go: a socket, a response, a stream. It holds at most one unfinished buffer (I5): whoever
 * writes looks at `unfinished` first. `write()` returning false and `drain` are useless for this: a stalled socket
 * under 64 KiB queued never returns false, and never drains.
 */
export interface Outlet {
  /** Bytes given to `write` and not yet taken by the kernel. */
  readonly unfinished: number;
  /** The same to the byte where the transport knows: falls while one large buffer is being taken. Costs more to ask. */
  readonly left: number;
  /** Hands over one buffer, which must not change afterwards. After the end it does nothing. Hot. */
  write(buffer: Buffer): void;
  /** Calls `waiter.finished()` once everything written so far has been taken; never when the outlet ends first. */
  whenFinished(waiter: FinishWaiter): void;
  /** Ends in good order after what was written, with `last` as the final bytes. */
  end(last?: Buffer): void;
  /** Cuts at once; unfinished bytes are lost, and the peer resumes by its last cursor. */
  destroy(): void;
}

export interface FinishWaiter {
  finished(): void;
}
