// Requests of a page to its own server. A page that listens to the event `stranger` of its window hears of each answer that asks for a
// login.

import { language } from '/language.js';

function answer(status, text) {
  if (status === 401) window.dispatchEvent(new Event('stranger'));
  let body = {};
  try {
    body = JSON.parse(text);
  } catch {
    // No JSON, or the connection has broken.
  }
  return { status, body };
}

// Asks, with a body of JSON if there is one. Status 0: there was no answer.
export async function ask(method, path, body) {
  const headers = { 'Accept-Language': language };
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  try {
    const got = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
    return answer(got.status, await got.text());
  } catch {
    return answer(0, '');
  }
}

// Sends a file as a form does. `progress` hears which part of it has gone, from 0 to 1: fetch tells nobody, so this is the older way.
export function send(file, progress) {
  return new Promise((done) => {
    const form = new FormData();
    form.append('file', file);
    const request = new XMLHttpRequest();
    request.upload.onprogress = ({ loaded, total }) => progress(total > 0 ? loaded / total : 0);
    request.onload = () => done(answer(request.status, request.responseText));
    request.onerror = () => done(answer(0, ''));
    request.open('POST', '/upload');
    request.setRequestHeader('Accept-Language', language);
    request.send(form);
  });
}
