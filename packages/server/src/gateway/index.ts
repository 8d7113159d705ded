export { Door, type DoorOptions } from './door.ts';
export { type Connection, Gateway, type GatewayOptions } from './gateway.ts';
export { BareResponder, ResponseResponder } from './responder.ts';
export { headerOf, serveSse, serveSseFrames } from './sse.ts';
