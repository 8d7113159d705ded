export * from './content-type.ts';
export {
  type Cursor,
  cursorPrefix,
  cursorSuffix,
  cursorTokenMaxBytes,
  formatCursor,
  parseCursor,
} from './cursor.ts';
export * from './deadline.ts';
export * from './durability.ts';
export * from './envelope.ts';
export * from './errors.ts';
export * from './filter-set.ts';
export * from './frames.ts';
export * from './from.ts';
export * from './heartbeat.ts';
export { jsonValueEnd } from './json-check.ts';
export { rawElements, rawMember, type Span } from './json-raw.ts';
export * from './limits.ts';
export * from './message.ts';
export * from './nearest.ts';
export * from './parse-frame.ts';
export * from './partitioned-cursor.ts';
export * from './plain-lines.ts';
export * from './query.ts';
export * from './set-aside.ts';
export { checkFilters, type RefusedItem, type SubscriptionRequest } from './subscription-request.ts';
export * from './topic.ts';
