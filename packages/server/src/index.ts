export { type Envelope, type ErrorCode, isTailraceError, type Problem, TailraceError } from '@tailrace/protocol';
export type { ConfigInput } from './config/index.ts';
export {
  createTailrace,
  type PublishOptions,
  type PublishReceipt,
  type ReceivedMessage,
  type SubscribeNotice,
  type SubscribeOptions,
  Tailrace,
} from './tailrace.ts';
