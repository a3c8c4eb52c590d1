// The server's API. The token, if there is one, goes into a header: never into an address.

import { fill, find } from "./dom.js";

const KEPT = "bimcvr-token";
// what a header can bear; a token that was copied from a page may bring an invisible character with it
const SENDABLE = /^[\x21-\x7e]+$/;
let asking = null;

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
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

// pictures are fetched, since an <img> sends no token; the address is the caller's to revoke
export async function fetchPicture(path, options = {}) {
  const response = await request(path, options);
  return URL.createObjectURL(await response.blob());
}

async function request(path, options) {
  for (;;) {
    const response = await send(path, options);
    if (response.status === 401) {
      await askToken(sessionStorage.getItem(KEPT) === null ? "" : "That token was not accepted.");
      continue;
    }
    if (response.ok) return response;
    throw new Refused(response.status, await reason(response));
  }
}

async function send(path, { json, file, query, signal }) {
  const headers = {};
  const token = sessionStorage.getItem(KEPT);
  if (token) headers.Authorization = `Bearer ${token}`;
  if (json) headers["Content-Type"] = "application/json";
  if (file) headers["Content-Type"] = "application/octet-stream";
  const address = query ? `${path}?${new URLSearchParams(query)}` : path;
  const body = json ? JSON.stringify(json) : file;
  try {
    return await fetch(address, { method: body ? "POST" : "GET", headers, body, signal, credentials: "omit" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, "The server does not answer. Is it still running?");
  }
}

async function reason(response) {
  try {
    return (await response.json()).detail;
  } catch {
    return `The server answered with the status ${response.status}.`;
  }
}

// one dialog for all requests that wait for it
async function askToken(fault) {
  asking ??= askUntilSendable(fault).finally(() => { asking = null; });
  return asking;
}

async function askUntilSendable(fault) {
  for (;;) {
    const token = await showDialog(fault);
    if (SENDABLE.test(token)) return sessionStorage.setItem(KEPT, token);
    fault = "A token has plain letters, digits and signs only, without blanks: this one holds another character, perhaps an invisible one.";
  }
}

function showDialog(fault) {
  const dialog = find("ask-token");
  fill(find("token-fault"), fault);
  find("token-fault").hidden = !fault;
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
