// One operation: closed it is a line, open it has everything about it.
import { resolved } from "./document.js";
import { element } from "./elements.js";
import { exampleOf, opening, parametersView, schemaView } from "./schemas.js";
import { pathParts, prose, spans } from "./text.js";
import { tryForm } from "./trying.js";

const JSON_TYPE = "application/json";

export function operationView(api, each, token) {
  const { method, path, operation, isPublic, id } = each;
  const details = element("details", { class: `operation ${operation.deprecated ? "old" : ""}`, id }, [
    element("summary", {}, [
      element("span", { class: `method ${method}` }, method.toUpperCase()),
      element("span", { class: "path" }, pathParts(path)),
      element("span", { class: "short" }, spans(operation.summary ?? "")),
      element("span", { class: "badges" }, [
        operation.deprecated ? element("span", { class: "badge" }, "deprecated") : null,
        element("span", { class: `badge ${isPublic ? "open" : ""}` }, isPublic ? "public" : "token"),
      ]),
    ]),
  ]);
  details.addEventListener("toggle", () => {
    if (!details.open) return;
    if (details.children.length === 1) details.append(inside(api, each, token));
    if (location.hash !== `#${id}`) history.replaceState(null, "", `#${id}`);
  });
  return details;
}

function inside(api, each, token) {
  const { operation } = each;
  const parameters = (operation.parameters ?? []).map((parameter) => resolved(api, parameter)[0]);
  const body = operation.requestBody?.content?.[JSON_TYPE]?.schema;
  const answers = Object.entries(operation.responses).map(([status, response]) => [status, resolved(api, response)[0]]);
  const good = answers.filter(([status]) => status.startsWith("2"));
  const parts = [
    operation.description ? element("div", { class: "prose" }, prose(operation.description)) : null,
    ...part("Parameters", parameters.length && parametersView(api, parameters)),
    ...part("Body", body && schemaView(api, body)),
    ...good.flatMap(([status, response]) => answerView(api, status, response)),
    ...part("Refusals", refusalsView(api, answers.filter(([status]) => !status.startsWith("2")))),
  ];
  const example = body ? JSON.stringify(exampleOf(api, body), null, 2) : null;
  const types = good.flatMap(([, response]) => Object.keys(response.content ?? {}));
  const trying = [element("h3", {}, "Try it"), tryForm({ ...each, api, parameters, example, types, token })];
  return element("div", { class: "inside" }, [
    element("div", { class: "reading" }, parts),
    // A method that takes a stream can't be called at all.
    good.length ? element("div", { class: "trying" }, trying) : null,
  ]);
}

function part(title, content) {
  return content ? [element("h3", {}, title), content] : [];
}

function answerView(api, status, response) {
  return Object.entries(response.content ?? {}).flatMap(([type, media]) => [
    element("h3", {}, ["Answer ", element("span", { class: "plain" }, `${status}, ${type}`)]),
    schemaView(api, media.schema),
  ]);
}

function refusalsView(api, answers) {
  const named = answers.filter(([status]) => status !== "default");
  if (!named.length) return null;
  const rows = named.flatMap(([status, { description }]) => [
    element("dt", {}, status),
    element("dd", {}, spans(description)),
  ]);
  const problem = Object.values(named[0][1].content ?? {})[0]?.schema;
  return opening(`${named.length} ${named.length === 1 ? "status" : "statuses"} with a problem`, () =>
    element("div", {}, [element("dl", { class: "members statuses" }, rows), problem ? schemaView(api, problem) : null]),
  );
}
