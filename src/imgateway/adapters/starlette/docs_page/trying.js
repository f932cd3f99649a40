// The form that sends a request and shows what comes, as it comes.
import { element } from "./elements.js";

const MOST_SHOWN = 200_000;

export function tryForm({ method, path, operation, isPublic, example, token }) {
  const inputs = (operation.parameters ?? []).map((parameter) => ({ parameter, input: inputFor(parameter) }));
  const body = example === null ? null : element("textarea", { spellcheck: "false", "aria-label": "Body" });
  if (body) body.value = example;
  const send = element("button", { type: "submit" }, "Send");
  const stop = element("button", { type: "button", disabled: true }, "Stop");
  const status = element("p", { class: "status", role: "status" });
  const answer = element("pre", { hidden: true });
  let running = null;

  stop.addEventListener("click", () => running?.abort());
  const form = element("form", {}, [
    ...inputs.map(({ parameter, input }) => element("label", {}, [`${parameter.name} (${parameter.in})`, input])),
    body,
    element("div", { class: "buttons" }, [send, stop]),
    status,
    answer,
  ]);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    running = new AbortController();
    send.disabled = true;
    stop.disabled = false;
    answer.textContent = "";
    answer.hidden = true;
    status.textContent = "Waiting …";
    try {
      const response = await fetch(target(path, inputs), {
        method: method.toUpperCase(),
        headers: headersFor(isPublic ? "" : token.value, body),
        body: body ? body.value : undefined,
        signal: running.signal,
      });
      const id = response.headers.get("x-request-id");
      status.textContent = `${response.status} ${response.statusText}${id ? ` · request ${id}` : ""}`;
      await show(response, answer);
    } catch (error) {
      status.textContent = error.name === "AbortError" ? `${status.textContent} · stopped` : "No answer: " + error.message;
    } finally {
      send.disabled = false;
      stop.disabled = true;
    }
  });
  return form;
}

function inputFor(parameter) {
  return element("input", { name: parameter.name, autocomplete: "off", required: parameter.required === true });
}

function target(path, inputs) {
  let filled = path;
  const query = new URLSearchParams();
  for (const { parameter, input } of inputs) {
    if (parameter.in === "path") {
      filled = filled.replace(`{${parameter.name}}`, encodeURIComponent(input.value));
    } else if (input.value !== "") {
      const several = parameter.schema?.type === "array";
      for (const value of several ? input.value.split(",") : [input.value]) query.append(parameter.name, value);
    }
  }
  // Where the gateway is mounted below a path, the page is too.
  const base = new URL(".", document.baseURI).pathname.replace(/\/$/, "");
  return `${base}${filled}${query.size ? `?${query}` : ""}`;
}

function headersFor(token, body) {
  const headers = {};
  if (token) headers.authorization = `Bearer ${token.trim()}`;
  if (body) headers["content-type"] = "application/json";
  return headers;
}

async function show(response, answer) {
  const isDocument = /\bjson\b/.test(response.headers.get("content-type") ?? "") &&
    !/ndjson/.test(response.headers.get("content-type"));
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  answer.hidden = false;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    text = (text + value).slice(-MOST_SHOWN);
    if (!isDocument) answer.textContent = text;
  }
  answer.textContent = isDocument ? pretty(text) : text;
  answer.hidden = text === "";
}

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
