import { Gate } from '../../log/disk/read/gate.ts';
import type { Page, PageSource } from '../broker/pages.ts';
import type { BrokerPartition } from '../broker-partition.ts';

/** Reads that are under way at once of one partition, however many subscribers ask. */
const readsMax = 2;

/** Reads of what is in no memory. Nothing has to be decided: what is there counts. */
export class BridgedPages implements PageSource {
  readonly #partition: Pick<BrokerPartition, 'read'>;
  readonly #gate = new Gate(readsMax);

  constructor(partition: Pick<BrokerPartition, 'read'>) {
    this.#partition = partition;
  }

  read(after: number, to: number, maxBytes: number): Promise<Page> {
    return this.#gate.run(async () => {
      const { after: begun, entries, next, missing } = await this.#partition.read(after, to, maxBytes);
      return { after: begun, records: entries, next, missing };
    });
  }
}
