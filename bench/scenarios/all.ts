import type { Scenario } from '../scenario.ts';
import { acceptScenarios } from './accepts.ts';
import { bandwidthScenarios } from './bandwidth.ts';
import { ceilingScenarios } from './ceiling.ts';
import { clusterScenarios } from './cluster.ts';
import { clusterTailScenarios } from './cluster-tail.ts';
import { fanoutScenarios } from './fanout.ts';
import { filterScenarios } from './filters.ts';
import { hundredMillionScenarios } from './hundred-million.ts';
import { ingestScenarios } from './ingest.ts';
import { logAppendScenarios } from './log-appends.ts';
import { logHistoryScenarios } from './log-history.ts';
import { housekeepingScenarios } from './log-housekeeping.ts';
import { lookupScenarios } from './lookups.ts';
import { memoryScenarios } from './memory.ts';
import { pacedScenarios } from './paced.ts';
import { resumeScenarios } from './resume.ts';
import { stalledScenarios } from './stalled.ts';

export function allScenarios(): Scenario[] {
  return [
    ...fanoutScenarios(),
    ...filterScenarios(),
    ...bandwidthScenarios(),
    ...acceptScenarios(),
    ...pacedScenarios(),
    ...stalledScenarios(),
    ...memoryScenarios(),
    ...ingestScenarios(),
    ...resumeScenarios(),
    ...lookupScenarios(),
    ...logAppendScenarios(),
    ...logHistoryScenarios(),
    ...housekeepingScenarios(),
    ...clusterScenarios(),
    ...clusterTailScenarios(),
    ...ceilingScenarios(),
    ...hundredMillionScenarios(),
  ];
}
