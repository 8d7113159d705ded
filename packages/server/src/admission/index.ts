export { corsHeaders, corsLines, type HeaderList, type PreflightRequest, preflightHeaders } from './cors.ts';
export { type OriginOptions, OriginPolicy, type OriginRequest, type OriginVerdict } from './origin.ts';
