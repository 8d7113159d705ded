export { absoluteForm } from './absolute-form.ts';
export { Api, type ApiOptions, type ApiSettings, createApi } from './api.ts';
export { filterParameter, queryFilters } from './filters.ts';
export { holdReading } from './hold-reading.ts';
export { PublishResults } from './publish-results.ts';
export type { AnswerDoc, Parameter, Parameters, PlainRoute, RouteDoc, Schema } from './route.ts';
export { QueryValues, readQuery } from './route.ts';
export { envelopeSchema, problemSchema, subscribeBody } from './schemas.ts';
