/** What becomes of a subscriber that fell behind its cohort: read on, newest of each topic, or cut. */
export type LagPolicy = 'replay' | 'last' | 'disconnect';

export interface LagRule {
  readonly filter: string;
  readonly policy: LagPolicy;
  /** How long it may be behind before the policy applies, ms. */
  readonly after: number;
}
