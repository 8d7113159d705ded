export { connectionsAllowed } from './descriptors.ts';
export { createMetrics, Metrics } from './metrics.ts';
export { PublishCounts } from './publish-counts.ts';
export type { WatchedRooms } from './rooms.ts';
