// Requests to the server's API. The token, if there is one, is sent in a header, never in an address.

import { fill, find } from "./dom.js";

const TOKEN_KEY = "bimcvr-token";
// what a header can contain; a token copied from a page may bring an invisible character with it
const SENDABLE = /^[\x21-\x7e]+$/;
let prompting = null;

export class RequestError extends Error {
  constructor(status, message, series = null) {
    super(message);
    // of an upload with several: [{series, description, modality, slices, kernel, thickness_mm}]
    [this.status, this.series] = [status, series];
  }
}

// options: {json} or {file} to send, {query} for the address, {signal}
export async function call(path, options = {}) {
  const response = await request(path, options);
  return response.json();
}

export async function fetchBytes(path, options = {}) {
  const response = await request(path, options);
  return response.arrayBuffer();
}

// pictures are fetched, since an <img> sends no token; the caller has to revoke the address
export async function fetchPicture(path, options = {}) {
  const response = await request(path, options);
  return URL.createObjectURL(await response.blob());
}

async function request(path, options) {
  for (;;) {
    const response = await send(path, options);
    if (response.status === 401) {
      await promptForToken(sessionStorage.getItem(TOKEN_KEY) === null ? "" : "That token was not accepted.");
      continue;
    }
    if (response.ok) return response;
    const { detail, series } = await reason(response);
    throw new RequestError(response.status, detail, series);
  }
}

async function send(path, { json, file, query, signal }) {
  const headers = {};
  const token = sessionStorage.getItem(TOKEN_KEY);
  if (token) headers.Authorization = `Bearer ${token}`;
  if (json) headers["Content-Type"] = "application/json";
  if (file) headers["Content-Type"] = "application/octet-stream";
  const address = query ? `${path}?${new URLSearchParams(query)}` : path;
  const body = json ? JSON.stringify(json) : file;
  try {
    return await fetch(address, { method: body ? "POST" : "GET", headers, body, signal, credentials: "omit" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new RequestError(0, "The server does not respond. Is it still running?");
  }
}

async function reason(response) {
  try {
    return await response.json();
  } catch {
    return { detail: `The server answered with the status ${response.status}.` };
  }
}

// one dialog for all requests that wait for the token
async function promptForToken(message) {
  prompting ??= promptUntilSendable(message).finally(() => { prompting = null; });
  return prompting;
}

async function promptUntilSendable(message) {
  for (;;) {
    const token = await showDialog(message);
    if (SENDABLE.test(token)) return sessionStorage.setItem(TOKEN_KEY, token);
    message = "A token consists of plain letters, digits and signs, without spaces: this one contains another character, perhaps an invisible one.";
  }
}

function showDialog(message) {
  const dialog = find("token-dialog");
  fill(find("token-error"), message);
  find("token-error").hidden = !message;
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      const token = find("token").value.trim();
      find("token").value = "";
      resolve(token);
    }, { once: true });
    dialog.addEventListener("cancel", (event) => event.preventDefault(), { once: true });
    dialog.showModal();
  });
}
