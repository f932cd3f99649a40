// Schemas as lists of members and as examples. A schema that contains itself is named where it comes again.
import { resolved } from "./document.js";
import { element } from "./elements.js";
import { prose } from "./text.js";

const DEEPEST = 8;

export function typeOf(api, schema) {
  const [found, name] = resolved(api, schema);
  if (name && !isText(found)) return name;
  const choices = found.anyOf ?? found.oneOf;
  if (choices) {
    // Numbers that JSON does not have are texts; that a number may be one is no other type.
    const types = choices.filter((one) => !one.enum?.includes("NaN")).map((one) => typeOf(api, one));
    return [...new Set(types)].join(" or ");
  }
  if (found.type === "array") return `list of ${typeOf(api, found.items)}`;
  if (isMap(found)) return `map of ${typeOf(api, found.additionalProperties)}`;
  if (found.contentEncoding) return found.contentEncoding;
  const type = Array.isArray(found.type) ? found.type[0] : (found.type ?? "any");
  return found.format ? `${type} (${found.format})` : type;
}

// What is one text or number has a name only so that its pattern stands in one place.
const isText = (schema) => [schema.type].flat()[0] === "string" && !schema.enum;
const isMap = (schema) => Boolean(schema.additionalProperties) && !schema.properties;

// The names of an enum, or null.
export function namesOf(api, schema) {
  const [found] = resolved(api, schema);
  const names = found.enum ?? found.anyOf?.find((one) => one.type === "string")?.enum ?? null;
  return names?.includes("NaN") ? null : names;
}

// What is inside of lists and maps: that has the members.
function inner(api, schema) {
  const [found] = resolved(api, schema);
  if (found.type === "array") return inner(api, found.items);
  if (isMap(found) && found.additionalProperties !== true) return inner(api, found.additionalProperties);
  const real = (found.anyOf ?? found.oneOf)?.filter((one) => one.$ref);
  return real?.length === 1 && !found.oneOf ? inner(api, real[0]) : schema;
}

export function schemaView(api, schema, seen = []) {
  const item = inner(api, schema);
  const [found, name] = resolved(api, item);
  if (seen.includes(name)) return element("p", { class: "type" }, typeOf(api, schema));
  const path = name ? [...seen, name] : seen;
  const properties = Object.entries(found.properties ?? {});
  const titled = name || item !== schema || !(properties.length || found.oneOf);
  const title = titled ? element("p", { class: "type" }, typeOf(api, schema)) : null;
  const text = [resolved(api, schema)[0].description, item === schema ? null : found.description].filter(Boolean);
  return element("div", { class: "schema" }, [
    title,
    text.length ? element("div", { class: "prose" }, text.flatMap(prose)) : null,
    properties.length ? members(api, properties, found.required ?? [], path) : null,
    // Where the values have comments, they stand in the text.
    valuesView(namesOf(api, item)?.filter((value) => !found.description?.includes(`\`${value}\``))),
    ...(found.oneOf ?? []).map((one) => schemaView(api, one, path)),
  ]);
}

function members(api, properties, required, seen) {
  const rows = properties.flatMap(([name, schema]) => memberView(api, name, schema, required.includes(name), seen));
  return element("dl", { class: "members" }, rows);
}

function memberView(api, name, schema, required, seen) {
  const item = inner(api, schema);
  const [found, reference] = resolved(api, item);
  const names = namesOf(api, item);
  const opens = (found.properties || names) && !seen.includes(reference) && seen.length < DEEPEST;
  const type = typeOf(api, schema);
  return [
    element("dt", {}, name),
    element("dd", {}, [
      opens ? opening(type, () => schemaView(api, item, seen)) : element("span", { class: "type" }, type),
      ...marks({ required, ...schema }),
      saidView(api, schema, schema.description),
    ]),
  ];
}

// What is said of a member or parameter, and how its text is written where that is said elsewhere.
function saidView(api, schema, description) {
  const [found] = resolved(api, inner(api, schema));
  const texts = [description, found !== schema && isText(found) ? found.description : null].filter(Boolean);
  return texts.length ? element("div", { class: "prose" }, texts.flatMap(prose)) : null;
}

function marks({ required, readOnly, writeOnly, deprecated }) {
  const words = { required, "read only": readOnly, "write only": writeOnly, deprecated };
  return Object.keys(words).filter((word) => words[word]).map((word) => element("span", { class: "mark" }, word));
}

// Details whose content is made when they are opened: a large API has thousands of schemas.
export function opening(summary, content, attributes = {}) {
  const details = element("details", attributes, [element("summary", { class: "type" }, summary)]);
  details.addEventListener("toggle", () => {
    if (details.open && details.children.length === 1) details.append(content());
  });
  return details;
}

function valuesView(names) {
  return names?.length ? element("p", { class: "values" }, names.flatMap((name) => [element("code", {}, name), " "])) : null;
}

export function parametersView(api, parameters) {
  const rows = parameters.flatMap((parameter) => [
    element("dt", {}, parameter.name),
    element("dd", {}, [
      element("span", { class: "type" }, typeOf(api, parameter.schema)),
      element("span", { class: "mark" }, parameter.in),
      ...marks(parameter),
      saidView(api, parameter.schema, parameter.description),
      valuesView(namesOf(api, inner(api, parameter.schema))),
    ]),
  ]);
  return element("dl", { class: "members" }, rows);
}

// A value that the schema allows, with every member there is, of a choice the first.
export function exampleOf(api, schema, seen = []) {
  const [found, name] = resolved(api, schema);
  if (name && seen.includes(name)) return {};
  const path = name ? [...seen, name] : seen;
  if (found.properties) {
    const others = new Set((found["x-at-most-one"] ?? []).flatMap((names) => names.slice(1)));
    const shown = Object.entries(found.properties).filter(([key, member]) => !member.readOnly && !others.has(key));
    return Object.fromEntries(shown.map(([key, member]) => [key, exampleOf(api, member, path)]));
  }
  const names = namesOf(api, schema);
  if (names) return names[names.length > 1 ? 1 : 0];
  const choices = found.anyOf ?? found.oneOf;
  if (choices) return exampleOf(api, choices[0], path);
  const type = Array.isArray(found.type) ? found.type[0] : found.type;
  if (type === "array") {
    const item = exampleOf(api, found.items, path);
    return item && typeof item === "object" && !Object.keys(item).length ? [] : [item];
  }
  if (type === "string") return textExample(found);
  if (type === "integer" || type === "number") return Math.max(found.minimum ?? 0, 0);
  if (type === "boolean") return false;
  return type === "object" ? {} : null;
}

function textExample({ format, pattern }) {
  if (format === "date-time") return `${new Date().toISOString().slice(0, 19)}Z`;
  if (format === "int64" || format === "uint64") return "0";
  return pattern?.endsWith("s$") ? "1s" : "";
}
