// A server that has time: 50 messages a second to 1,000 subscribers.
import type { Scenario } from '../scenario.ts';
import { fanoutEntries } from './fanout.ts';

const messagesPerSecond = 50;
/** Connections to publish on: as many as may wait for an answer before it counts as an overrun. */
const connections = 256;

export function pacedScenarios(): Scenario[] {
  return [
    {
      name: 'paced',
      about: `1,000 SSE subscribers of one topic, ${messagesPerSecond} messages/s offered`,
      entries: fanoutEntries('sse', { inFlight: connections, rate: messagesPerSecond }),
      goals: [
        { figure: 'delivery p50 ms', of: 'tailrace', to: 'nchan', atMost: 1.1 },
        { figure: 'ack p50 ms', of: 'tailrace', to: 'nchan', atMost: 0.2 },
      ],
    },
  ];
}
