// Reads /openapi.json and shows its operations. Nothing of the document is ever taken for markup.
import { schemaView, exampleOf, typeOf } from "./schemas.js";
import { tryForm } from "./trying.js";
import { element } from "./elements.js";

const RETRY_MS = 2000;
const METHODS = ["get", "post", "put", "patch", "delete", "head", "options"];
const main = document.getElementById("operations");
const filter = document.getElementById("filter");
const token = document.getElementById("token");

token.value = sessionStorage.getItem("token") ?? "";
token.addEventListener("input", () => sessionStorage.setItem("token", token.value));
filter.addEventListener("input", () => show());
document.getElementById("tools").addEventListener("submit", (event) => event.preventDefault());

let sections = [];

function say(text) {
  main.replaceChildren(element("p", { class: "state" }, text));
}

async function load() {
  let response;
  try {
    response = await fetch("openapi.json");
  } catch {
    say("The gateway can't be reached. Trying again …");
    setTimeout(load, RETRY_MS);
    return;
  }
  if (response.status === 503) {
    say("The services are not known yet. Trying again …");
    setTimeout(load, RETRY_MS);
    return;
  }
  if (!response.ok) {
    say(`The description can't be read: ${response.status} ${response.statusText}`);
    return;
  }
  build(await response.json());
  show();
}

function build(api) {
  document.title = api.info.title;
  document.getElementById("title").textContent = api.info.title;
  const byTag = new Map((api.tags ?? []).map((tag) => [tag.name, { tag, operations: [] }]));
  for (const [path, item] of Object.entries(api.paths)) {
    for (const method of METHODS.filter((name) => name in item)) {
      const operation = item[method];
      const name = operation.tags?.[0] ?? "Other";
      if (!byTag.has(name)) byTag.set(name, { tag: { name }, operations: [] });
      byTag.get(name).operations.push({
        text: [method, path, operation.summary, operation.description, operation.operationId].join(" ").toLowerCase(),
        view: operationView(api, method, path, operation),
      });
    }
  }
  sections = [...byTag.values()].filter((section) => section.operations.length);
}

function show() {
  const wanted = filter.value.trim().toLowerCase().split(/\s+/);
  const shown = [];
  for (const { tag, operations } of sections) {
    const fitting = operations.filter(({ text }) => wanted.every((word) => text.includes(word)));
    if (!fitting.length) continue;
    shown.push(
      element("section", {}, [
        element("h2", {}, tag.name),
        tag.description ? element("p", { class: "about" }, tag.description) : null,
        ...fitting.map(({ view }) => view),
      ]),
    );
  }
  if (shown.length) main.replaceChildren(...shown);
  else say(sections.length ? "No route has these words." : "There are no routes.");
}

function operationView(api, method, path, operation) {
  const isPublic = !(operation.security ?? []).length;
  const details = element("details", { class: "operation" }, [
    element("summary", {}, [
      element("span", { class: `method ${method}` }, method.toUpperCase()),
      element("span", { class: "path" }, path),
      element("span", { class: "short" }, operation.summary ?? ""),
      element("span", { class: "badge" }, isPublic ? "public" : "token"),
    ]),
  ]);
  // Made when it is opened: a large API has thousands of schemas.
  details.addEventListener("toggle", () => {
    if (details.open && details.children.length === 1) {
      details.append(inside(api, method, path, operation, isPublic));
    }
  });
  return details;
}

function inside(api, method, path, operation, isPublic) {
  const body = operation.requestBody?.content?.["application/json"]?.schema;
  const parts = [];
  if (operation.description) parts.push(element("p", { class: "text" }, operation.description));
  if (operation.parameters?.length) {
    parts.push(element("h3", {}, "Parameters"), parametersView(api, operation.parameters));
  }
  if (body) parts.push(element("h3", {}, "Body"), schemaView(api, body));
  for (const [status, response] of Object.entries(operation.responses)) {
    for (const [type, media] of Object.entries(response.content ?? {})) {
      parts.push(element("h3", {}, `Answer ${status}, ${type}`), schemaView(api, media.schema));
    }
  }
  const example = body ? JSON.stringify(exampleOf(api, body), null, 2) : null;
  parts.push(element("h3", {}, "Try it"), tryForm({ method, path, operation, isPublic, example, token }));
  return element("div", { class: "inside" }, parts);
}

function parametersView(api, parameters) {
  return element(
    "dl",
    {},
    parameters.flatMap((parameter) => [
      element("dt", {}, parameter.name),
      element("dd", {}, [
        element("span", { class: "type" }, `${parameter.in}, ${typeOf(api, parameter.schema)}`),
        parameter.description ? element("div", { class: "text" }, parameter.description) : null,
      ]),
    ]),
  );
}

load();
