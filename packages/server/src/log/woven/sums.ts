import type { LogMemory, LogStatus } from '../log.ts';

/** Of all partitions together: what is wrong with one is wrong with the log. */
export function sumOfStatus(all: readonly LogStatus[]): LogStatus {
  const worst = all.find(({ state }) => state !== 'open') ?? all[0]!;
  const sum = (of: (status: LogStatus) => number): number => all.reduce((total, status) => total + of(status), 0);
  return {
    state: worst.state,
    reason: worst.reason,
    segments: sum(({ segments }) => segments),
    bytes: sum(({ bytes }) => bytes),
    pendingRecords: sum(({ pendingRecords }) => pendingRecords),
    pendingBytes: sum(({ pendingBytes }) => pendingBytes),
    commits: sum(({ commits }) => commits),
    retentionWaitingBytes: sum(({ retentionWaitingBytes }) => retentionWaitingBytes),
    deletionsPending: sum(({ deletionsPending }) => deletionsPending),
    damagedReads: sum(({ damagedReads }) => damagedReads),
    scrub: {
      bytes: sum(({ scrub }) => scrub.bytes),
      damages: sum(({ scrub }) => scrub.damages),
      progress: Math.min(...all.map(({ scrub }) => scrub.progress)),
    },
  };
}

export function sumOfMemory(all: readonly LogMemory[]): LogMemory {
  const sum = (of: (memory: LogMemory) => number): number => all.reduce((total, memory) => total + of(memory), 0);
  return {
    ids: sum(({ ids }) => ids),
    producers: sum(({ producers }) => producers),
    idsCutShort: sum(({ idsCutShort }) => idsCutShort),
    producersCutShort: sum(({ producersCutShort }) => producersCutShort),
    endedTopics: sum(({ endedTopics }) => endedTopics),
    endedCutShort: sum(({ endedCutShort }) => endedCutShort),
    tables: sum(({ tables }) => tables),
    tableBytes: sum(({ tableBytes }) => tableBytes),
    tableLoads: sum(({ tableLoads }) => tableLoads),
  };
}
