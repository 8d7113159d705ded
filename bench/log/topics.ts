/** Topics of a large site, iot/<site>/<device>/<metric>: as many as one likes, each number another. */
const metrics = ['temperature', 'humidity', 'pressure', 'battery', 'rssi', 'uptime', 'errors', 'state'] as const;
const devicesOfSite = 100;

/** In one piece, as a decoder gives it: a template leaves a rope, and whoever reads it first pays for putting it together. */
export function topicOf(number: number): string {
  const device = Math.floor(number / metrics.length);
  const topic = `${siteOf(Math.floor(device / devicesOfSite))}/${deviceName(device % devicesOfSite)}/${metrics[number % metrics.length]}`;
  return Buffer.from(topic).toString();
}

function siteOf(number: number): string {
  return `iot/site-${String(number).padStart(5, '0')}`;
}

function deviceName(number: number): string {
  return `device-${String(number).padStart(2, '0')}`;
}

/** A filter that matches one topic in a hundred; `number` below 100. */
export function deviceFilter(number: number): string {
  return `iot/+/${deviceName(number)}/#`;
}

/** One topic with records all over the history, and nothing else in common with the others. */
export const followedTopic = 'orders/followed';
