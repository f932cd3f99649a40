// Out of what somebody filled in: an address, and the same as a command line.
import { resolved } from "./document.js";
import { element } from "./elements.js";
import { namesOf, typeOf } from "./schemas.js";

export function valueInput(api, parameter) {
  const { schema, required } = parameter;
  const names = schema.type === "boolean" ? ["true", "false"] : namesOf(api, schema);
  if (names && !required) {
    return element("select", {}, [element("option", { value: "" }, "–"), ...names.map((name) => element("option", {}, name))]);
  }
  if (schema.type === "array") {
    return element("textarea", { rows: 2, spellcheck: "false", placeholder: `${typeOf(api, schema.items)}, one a line` });
  }
  const [found] = resolved(api, schema);
  const numeric = ["integer", "number"].some((type) => [found.type].flat().includes(type));
  return element("input", {
    required: required === true,
    spellcheck: "false",
    inputmode: numeric ? "numeric" : null,
    placeholder: typeOf(api, schema),
  });
}

export function address(path, inputs) {
  let filled = path;
  const query = new URLSearchParams();
  for (const { parameter, input } of inputs) {
    if (parameter.in === "path") {
      const text = parameter["x-several-segments"]
        ? input.value.split("/").map(encodeURIComponent).join("/")
        : encodeURIComponent(input.value);
      filled = filled.replace(`{${parameter.name}}`, () => text);
    } else if (input.value !== "") {
      const values = parameter.schema.type === "array" ? input.value.split("\n").filter(Boolean) : [input.value];
      for (const value of values) query.append(parameter.name, value);
    }
  }
  // Where the gateway is mounted below a path, the page is too.
  const base = new URL(".", document.baseURI).pathname.replace(/\/$/, "");
  return `${base}${filled}${query.size ? `?${query}` : ""}`;
}

export function asCurl({ method, url, headers, body }, isPublic) {
  const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
  const lines = [`curl -X ${method} ${quoted(new URL(url, location.origin).href)}`];
  for (const [name, value] of Object.entries(headers)) lines.push(`-H ${quoted(`${name}: ${value}`)}`);
  if (!isPublic) lines.push('-H "Authorization: Bearer $TOKEN"'); // the token itself is in no shell's history
  if (body) lines.push(`-d ${quoted(body)}`);
  return lines.join(" \\\n  ");
}
