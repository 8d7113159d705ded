/** What an ack promises to survive (I1): power loss, a crash of the process, nothing. */
export type Durability = 'fsync' | 'written' | 'none';
export const durabilities: readonly Durability[] = ['fsync', 'written', 'none'];
