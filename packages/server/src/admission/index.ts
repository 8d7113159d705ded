export { corsHeaders, corsLines, type HeaderList, type PreflightRequest, preflightHeaders } from './cors.ts';
export { EngineBreaker, type EngineState } from './engine-breaker.ts';
export { type OriginOptions, OriginPolicy, type OriginRequest, type OriginVerdict } from './origin.ts';
