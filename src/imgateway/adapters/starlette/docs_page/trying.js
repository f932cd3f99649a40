// The form that sends a request and shows what comes, as it comes.
import { element } from "./elements.js";
import { address, asCurl, valueInput } from "./requests.js";

const MOST_SHOWN = 200_000;

export function tryForm({ api, method, path, isPublic, parameters, example, types, token }) {
  const inputs = parameters.map((parameter) => ({ parameter, input: valueInput(api, parameter) }));
  const body = example === null ? null : element("textarea", { spellcheck: "false", "aria-label": "Body", rows: 8 });
  if (body) {
    body.value = example;
    body.rows = Math.min(Math.max(example.split("\n").length, 3), 16);
  }
  const accept = types.length > 1 ? element("select", {}, types.map((type) => element("option", {}, type))) : null;
  const send = element("button", { type: "submit" }, "Send");
  const stop = element("button", { type: "button", class: "second", hidden: true }, "Stop");
  const copy = element("button", { type: "button", class: "second" }, "Copy as curl");
  const keep = element("button", { type: "button", class: "second", hidden: true }, "Use as token");
  const status = element("p", { class: "status", role: "status" });
  const answer = element("pre", { hidden: true, tabindex: "0", "aria-label": "Answer" });
  let running = null;

  const request = () => {
    const headers = { Accept: accept?.value ?? types[0] };
    if (body) headers["Content-Type"] = "application/json";
    return { method: method.toUpperCase(), url: address(path, inputs), headers, body: body?.value };
  };
  const form = element("form", { autocomplete: "off" }, [
    ...inputs.map(({ parameter, input }) => field(`${parameter.name}${parameter.required ? " *" : ""}`, input)),
    body && field("Body", body),
    accept && field("Answer as", accept),
    isPublic ? null : element("p", { class: "hint", hidden: Boolean(token.value) }, "Needs a token: see the field above."),
    element("div", { class: "buttons" }, [send, stop, copy, keep]),
    status,
    answer,
  ]);
  stop.addEventListener("click", () => running?.abort());
  copy.addEventListener("click", async () => {
    const text = asCurl(request(), isPublic);
    try {
      await navigator.clipboard.writeText(text);
      say(status, "Copied.");
    } catch {
      answer.textContent = text; // no clipboard without HTTPS
      answer.hidden = false;
    }
  });
  keep.addEventListener("click", () => {
    token.value = keep.value;
    token.dispatchEvent(new Event("input"));
    say(status, "Private routes are asked with this token now.");
  });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const { url, ...rest } = request();
    if (!isPublic && token.value) rest.headers.Authorization = `Bearer ${token.value.trim()}`;
    running = new AbortController();
    form.querySelector(".hint")?.toggleAttribute("hidden", Boolean(token.value));
    stop.hidden = !(send.disabled = true);
    keep.hidden = answer.hidden = true;
    answer.textContent = "";
    say(status, "Waiting …");
    const began = performance.now();
    try {
      const response = await fetch(url, { ...rest, signal: running.signal });
      const id = response.headers.get("x-request-id");
      const took = `${Math.round(performance.now() - began)} ms`;
      say(status, [`${response.status} ${response.statusText}`, took, id && `request ${id}`].filter(Boolean).join(" · "), response.ok);
      const found = tokenIn(await shown(response, answer));
      keep.hidden = !found;
      keep.value = found ?? "";
    } catch (error) {
      const stopped = error.name === "AbortError";
      say(status, stopped ? `${status.textContent.replace(" …", "")} · stopped` : `No answer: ${error.message}`, stopped);
    } finally {
      stop.hidden = !(send.disabled = false);
    }
  });
  return form;
}

function field(label, input) {
  return element("label", {}, [element("span", {}, label), input]);
}

function say(status, text, good = true) {
  status.classList.toggle("bad", !good);
  status.textContent = text;
}

// Shows the answer while it comes; returns it as JSON where it is.
async function shown(response, answer) {
  const isDocument = /^application\/(problem\+)?json\b/.test(response.headers.get("content-type") ?? "");
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  let waiting = false;
  const paint = () => {
    waiting = false;
    answer.textContent = text;
    answer.hidden = text === "";
    answer.scrollTop = answer.scrollHeight;
  };
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    text = (text + value).slice(-MOST_SHOWN);
    if (!isDocument && !waiting) waiting = Boolean(requestAnimationFrame(paint));
  }
  let value = null;
  try {
    if (isDocument) text = JSON.stringify((value = JSON.parse(text)), null, 2);
  } catch {
    // It is shown as it came.
  }
  paint();
  answer.scrollTop = isDocument ? 0 : answer.scrollTop;
  return value;
}

function tokenIn(value) {
  const found = value?.accessToken ?? value?.access_token;
  return typeof found === "string" && found ? found : null;
}
