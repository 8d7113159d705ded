import type { Problem } from '@tailrace/protocol';
import { errorOf, lost } from '../errors.ts';
import type { Dial, Loss, Published, PublishedItem } from './transport.ts';

/** One request with a JSON body. Rejects only when no answer came. */
export function post(
  dial: Dial,
  path: string,
  body: unknown,
  { accept, signal }: { accept?: string; signal: AbortSignal },
): Promise<Response> {
  const headers: Record<string, string> = { 'content-type': 'application/json' };
  if (accept !== undefined) headers.accept = accept;
  return request(dial, path, { method: 'POST', headers, body: JSON.stringify(body), signal });
}

export function get(dial: Dial, path: string, signal: AbortSignal): Promise<Response> {
  return request(dial, path, { headers: {}, signal });
}

function request(
  { endpoint, environment, token }: Dial,
  path: string,
  init: RequestInit & { readonly headers: Record<string, string> },
): Promise<Response> {
  if (token !== undefined) init.headers.authorization = `Bearer ${token}`;
  return environment.fetch(endpoint + path, { cache: 'no-store', ...init });
}

/** What an answer other than 2xx says. */
export async function refusal(response: Response): Promise<Loss> {
  const { status } = response;
  const seconds = Number(response.headers.get('retry-after') ?? Number.NaN);
  const asked = Number.isFinite(seconds) ? seconds * 1000 : undefined;
  try {
    const problem = (await response.json()) as Problem;
    if (problem.code !== undefined)
      return {
        error: errorOf(problem),
        retryAfter: problem.retryAfter ?? asked,
        isFinal: problem.retry === 'never',
      };
  } catch {
    // no problem of ours: a proxy spoke
  }
  return { error: lost(`the server answered ${status}`), retryAfter: asked };
}

/** `POST /v1/publish` (§4.2), for the transports that cannot say it themselves. */
export async function publishByPost(dial: Dial, messages: readonly unknown[], signal: AbortSignal): Promise<void> {
  const { listener } = dial;
  let response: Response;
  let answer: Partial<Problem> & { results?: readonly PublishedItem[] };
  try {
    response = await post(dial, '/v1/publish', messages, { signal });
    answer = (await response.json()) as typeof answer;
  } catch (cause) {
    if (!signal.aborted) listener.onLost({ error: lost('a publish was not answered', cause) });
    return;
  }
  if (signal.aborted) return;
  const published: Published =
    answer.results === undefined ? { problem: answer as Problem } : { results: answer.results };
  listener.onPublished(published);
}
