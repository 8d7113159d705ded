/** Publishes one message: JSON when it parses, else text. Throws an Error that says what the server refused. */
export async function publish(topic, text) {
  const path = topic.split('/').map(encodeURIComponent).join('/');
  const type = isJson(text) ? 'application/json' : 'text/plain; charset=utf-8';
  const response = await fetch(`/v1/topics/${path}`, { method: 'POST', headers: { 'content-type': type }, body: text });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.detail);
  return answer;
}

function isJson(text) {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
