// Comments of proto files: paragraphs, lists and `code`. Text goes in as text, never as markup.
import { element } from "./elements.js";

export function prose(text) {
  return text
    .split(/\n{2,}/)
    .filter((block) => block.trim())
    .map((block) => {
      const lines = block.split("\n");
      if (!lines.every((line) => /^\s*[-*] /.test(line))) return element("p", {}, spans(lines.map((line) => line.trim()).join(" ")));
      return element("ul", {}, lines.map((line) => element("li", {}, spans(line.replace(/^\s*[-*] /, "")))));
    });
}

export function spans(text) {
  return text.split(/`([^`]+)`/).map((part, index) => (index % 2 ? element("code", {}, part) : part));
}

// The parts of a path, so that variables can be told from the rest, and lines break at slashes.
export function pathParts(path) {
  return path.split(/(\{[^}]+\}|\/)/).filter(Boolean).map((part) => {
    if (part === "/") return element("span", { class: "slash" }, ["/", element("wbr", {})]);
    return part.startsWith("{") ? element("span", { class: "variable" }, part) : part;
  });
}
