export { Block } from './blocks.ts';
export { Brake, type Held } from './brake.ts';
export { Cohort } from './cohort.ts';
export { Deadlines, type Expiring } from './deadlines.ts';
export type { Encoding } from './encoding.ts';
export { envelopeMaxBytes, envelopeText, writeEnvelope } from './envelope-bytes.ts';
export { Hub, type HubOptions } from './hub.ts';
export type { LagPolicy, LagRule } from './lag-rules.ts';
export { MixedDeadlines } from './mixed-deadlines.ts';
export type { FinishWaiter, Outlet } from './outlet.ts';
export {
  type DurabilityRule,
  failures,
  type Published,
  Publisher,
  passedOn,
  type Spooling,
  spooled,
} from './publisher.ts';
export { type Read, Reader } from './reader.ts';
export { type CutReason, type Deliveries, Session, type SessionOwner } from './session.ts';
export type { Start, StartRequest } from './start.ts';
export { Subscription } from './subscription.ts';
