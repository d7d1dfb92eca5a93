// Renders /openapi.json. Everything is built of nodes, nothing of markup, and nothing comes from elsewhere.
"use strict";

const METHODS = ["get", "post", "put", "patch", "delete"];
let contract;

const by = id => document.getElementById(id);
const resolve = thing => thing && thing.$ref
  ? {...thing.$ref.slice(2).split("/").reduce((at, name) => at[name], contract), ...without(thing, "$ref")} : thing;
const without = (thing, name) => Object.fromEntries(Object.entries(thing).filter(([key]) => key !== name));
const refName = thing => thing && thing.$ref ? thing.$ref.split("/").pop() : "";

function el(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {}))
    if (value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  node.append(...children.flat(Infinity).filter(child => child !== null && child !== undefined && child !== ""));
  return node;
}

// The little of Markdown that descriptions use: `code`, **bold**.
const inline = text => text.split(/(`[^`]+`|\*\*[^*]+\*\*)/).map(part =>
  part.startsWith("`") ? el("code", null, part.slice(1, -1))
    : part.startsWith("**") ? el("strong", null, part.slice(2, -2)) : part);
const paragraphs = text => (text || "").split("\n\n").filter(Boolean).map(part => el("p", null, inline(part)));

function highlighted(text) {
  const parts = text.split(/("(?:[^"\\]|\\.)*"\s*:?|-?\b\d[\d.eE+-]*\b|\b(?:true|false|null)\b)/);
  return parts.map((part, n) => n % 2 === 0 ? part
    : el("span", {class: part[0] !== '"' ? "number" : part.endsWith(":") ? "key" : "string"}, part));
}

function example(media) {
  if (media.example !== undefined) return media.example;
  const first = Object.values(media.examples || {})[0];
  return first && resolve(first).value;
}

function exampleBlock(value, label) {
  if (value === undefined) return null;
  const text = typeof value === "string" ? value : JSON.stringify(value, null, 2);
  return el("pre", {tabindex: 0, role: "region", "aria-label": label}, typeof value === "string" ? text : highlighted(text));
}

// What a schema is, in a few words.
function typeOf(schema) {
  const name = refName(schema);
  schema = resolve(schema);
  if (schema.anyOf || schema.oneOf) return (schema.anyOf || schema.oneOf).map(typeOf).join(" or ");
  const type = [schema.type].flat().filter(Boolean).join(" or ") || "anything";
  if (type.startsWith("array")) return type.replace("array", "list of " + typeOf(schema.items || {}));
  return name && !schema.properties ? `${type} (${name})` : name || type;
}

function limits(schema) {
  const words = [];
  const number = value => value.toLocaleString("en");
  const range = (low, high, unit) => high === undefined ? low > 1 ? `at least ${number(low)}${unit}` : null
    : low === undefined ? `at most ${number(high)}${unit}` : `${number(low)} to ${number(high)}${unit}`;
  if (schema.enum) words.push(schema.enum.map(String).join(", "));
  if (schema.const !== undefined) words.push(`always ${schema.const}`);
  words.push(range(schema.minimum, schema.maximum, ""), range(schema.minLength, schema.maxLength, " characters"),
    range(schema.minItems, schema.maxItems, " items"));
  if (schema.default !== undefined) words.push(`${schema.default} if not given`);
  return words.filter(Boolean).join("; ");
}

// The objects behind a schema that are to be shown: of a list those of its items, and all alternatives.
function objects(schema) {
  schema = resolve(schema || {});
  return schema.properties ? [schema] : [schema.items, ...(schema.anyOf || schema.oneOf || [])].filter(Boolean).flatMap(objects);
}

// The fields of an object. Of a body it is said what must be there, of an answer what may be missing.
function fields(schema, asked) {
  return objects(schema).map((object, n) => [n ? el("p", null, "or") : null, fieldList(object, asked)]);
}

function fieldList(object, asked) {
  return el("ul", {class: "fields"}, Object.entries(object.properties).map(([name, property]) => {
    const found = resolve(property);
    const line = [el("code", null, name), el("span", {class: "type"}, typeOf(property)),
      (object.required || []).includes(name) === asked ? el("span", {class: "needed"}, asked ? "required" : "may be missing") : null];
    const plain = property.$ref && !property.description && found.type !== "object";
    const text = [plain ? "" : found.description, limits(found)].filter(Boolean).join(" ");
    const list = objects(property).length > 0 && el("details", null, el("summary", null, line));
    if (list) list.addEventListener("toggle", () => list.childElementCount > 1 || list.append(...fields(property, asked).flat().filter(Boolean)));
    return el("li", null, list || line, text ? el("p", null, inline(text)) : null);
  }));
}

function parameterTable(parameters) {
  if (!parameters.length) return null;
  return [el("h4", null, "Parameters"), el("div", {class: "scroll"}, el("table", null,
    el("thead", null, el("tr", null, ["Name", "In", "What"].map(word => el("th", {scope: "col"}, word)))),
    el("tbody", null, parameters.map(p => el("tr", null,
      el("td", null, el("code", null, p.name), p.required ? el("span", {class: "hidden"}, " required") : null, p.required ? " *" : ""),
      el("td", null, p.in),
      el("td", null, el("p", null, inline(p.description)),
        el("p", {class: "type"}, [typeOf(p.schema), limits(resolve(p.schema))].filter(Boolean).join("; "))))))))];
}

function bodyBlock(body) {
  if (!body) return null;
  const [first, media] = Object.entries(body.content)[0];
  return [el("h4", null, "Body"),
    el("p", null, Object.keys(body.content).map((type, n) => [n ? " or " : "", el("code", null, type)]), body.required ? "" : ", or none"),
    fields(media.schema, true),
    exampleBlock(example(media), `Example of the body, ${first}`)];
}

// An answer: a success with its fields and an example, a refusal with its problems.
function responseBlock(status, response, codes) {
  const any = status === "default";
  const heading = [el("span", {class: `status ${status < "4" ? "good" : "bad"}`}, any ? "else" : status), inline(response.description)];
  if (status >= "4" && !response.content["application/json"])
    return el("div", {class: "response"}, heading, problemTable(codes, any));
  const headers = Object.entries(response.headers || {}), content = Object.entries(response.content || {});
  return el("details", {class: "response", open: status.startsWith("2")}, el("summary", null, heading),
    headers.length ? el("p", null, "Headers: ", headers.map(([name, header], n) =>
      [n ? ", " : "", el("code", {title: resolve(header).description}, name)])) : null,
    content.map(([type, media]) => [el("p", null, el("code", null, type), " ", refName(media.schema)), fields(media.schema, false),
      exampleBlock(example(media), `Example of ${status}, ${type}`)]));
}

function problemTable(codes, withStatus) {
  return el("div", {class: "scroll"}, el("table", null, el("tbody", null, codes.map(code => el("tr", null,
    withStatus ? el("td", null, contract["x-problems"][code].status) : null,
    el("td", null, el("a", {href: `#problem-${code}`}, el("code", null, code))),
    el("td", null, contract["x-problems"][code].title))))));
}

function curl(method, path, operation, parameters) {
  const quote = text => `'${String(text).replaceAll("'", "'\\''")}'`;
  const query = parameters.filter(p => p.in === "query" && p.required).map(p => `${p.name}=${encodeURIComponent(p.example)}`).join("&");
  const url = location.origin + path.replace(/{(\w+)}/g, (_, name) => parameters.find(p => p.name === name).example) + (query && `?${query}`);
  const words = ["curl", method === "get" ? "" : `-X ${method.toUpperCase()}`, quote(url)];
  if (operation.security[0] && operation.security[0].oauth2) words.push('-H "Authorization: Bearer $TOKEN"');
  for (const p of parameters) if (p.in === "header" && p.required) words.push(`-H ${quote(`${p.name}: ${p.example}`)}`);
  const [type, media] = Object.entries(operation.requestBody ? operation.requestBody.content : {})[0] || [];
  if (type && type.startsWith("image/")) words.push(`-H 'Content-Type: ${type}' --data-binary @picture.png`);
  else if (type && type.includes("form"))
    words.push(...Object.entries(example(media)).map(([name, value]) => `--data-urlencode ${quote(`${name}=${value}`)}`));
  else if (type) words.push(`-H 'Content-Type: ${type}' -d ${quote(JSON.stringify(example(media)))}`);
  const text = words.filter(Boolean).join(" ");
  const button = el("button", {type: "button", class: "copy"}, "Copy");
  button.addEventListener("click", () => navigator.clipboard.writeText(text).then(() => { button.textContent = "Copied"; }));
  return el("div", {class: "curl"}, el("pre", {tabindex: 0, role: "region", "aria-label": "As a command"}, text), button);
}

// The codes that a status can have: the operation's own, and those that any request can run into.
function codesOf(operation, status) {
  const any = contract.components.responses.Failure["x-problem-codes"];
  const statusOf = code => String(contract["x-problems"][code].status);
  if (status === "default") return any.filter(code => !operation.responses[statusOf(code)]);
  return [...new Set([...operation["x-problem-codes"], ...any])].filter(code => statusOf(code) === status);
}

function operationBlock(method, path, operation) {
  const needs = operation.security[0] && operation.security[0].oauth2;
  const block = el("details", {class: "operation", id: operation.operationId}, el("summary", null,
    el("span", {class: `method ${method}`}, method.toUpperCase()), el("h3", null, path), el("span", {class: "what"}, operation.summary)));
  block.addEventListener("toggle", () => {
    if (!block.open || block.childElementCount > 1) return;
    const parameters = (operation.parameters || []).map(resolve);
    const verdicts = operation["x-verdict-codes"];
    block.append(el("div", {class: "body"}, [
      paragraphs(operation.description),
      el("p", null, el("span", {class: "badge"}, (needs ? "" : operation.security.length ? "with or without " : "no ") + "access token"),
        el("span", {class: "badge"}, operation.operationId)),
      el("h4", null, "Try it"), curl(method, path, operation, parameters), parameterTable(parameters), bodyBlock(operation.requestBody),
      el("h4", null, "Answers"), Object.entries(operation.responses).map(([status, response]) =>
        responseBlock(status, resolve(response), codesOf(operation, status))),
      verdicts ? [el("h4", null, "Problems of one of many"), problemTable(verdicts, true)] : null]));
  });
  return block;
}

function render() {
  const main = by("main"), all = [];
  const info = contract.info;
  main.append(el("section", {id: "intro"}, el("h1", null, `${info.title} `, el("small", null, `REST API, version ${info.version}`)),
    el("p", {class: "lead"}, info.summary),
    paragraphs(info.description)));
  for (const tag of contract.tags) {
    const section = el("section", null, el("h2", {id: `tag-${tag.name}`}, tag.name), el("p", null, tag.description));
    const entries = el("ul");
    const group = el("div", null, el("h2", null, tag.name), entries);
    for (const [path, item] of Object.entries(contract.paths))
      for (const method of METHODS.filter(m => item[m] && item[m].tags[0] === tag.name)) {
        const operation = item[method], block = operationBlock(method, path, operation);
        const word = el("span", {class: `method ${method}`}, method.toUpperCase());
        const entry = el("li", null, el("a", {href: `#${operation.operationId}`}, word, operation.summary));
        section.append(block);
        entries.append(entry);
        all.push({block, entry, section, group, text: `${method} ${path} ${textOf(operation)}`.toLowerCase()});
      }
    main.append(section);
    by("list").append(group);
  }
  const problems = el("section", null, el("h2", {id: "problems"}, "Problems"), el("p", null, "All codes, and what they mean."),
    problemTable(Object.keys(contract["x-problems"]), true));
  const rows = [...problems.querySelectorAll("tr")];
  rows.forEach((row, n) => { row.id = `problem-${Object.keys(contract["x-problems"])[n]}`; });
  main.append(problems);
  by("list").append(el("div", null, el("h2", null, "problems"), el("ul", null, el("li", null, el("a", {href: "#problems"}, "All codes")))));
  by("search").addEventListener("input", event => search(all, rows, event.target.value));
}

// What is searched of an operation: its own words and those of what it takes and gives; not what any request can run into.
function textOf(thing, seen = new Set()) {
  if (typeof thing !== "object" || thing === null) return String(thing);
  if (thing.$ref && seen.has(thing.$ref)) return "";
  seen.add(thing.$ref);
  return Object.entries(resolve(thing)).filter(([name]) => !/^(examples?|headers|[45]\d\d|default|pattern)$/.test(name))
    .map(([name, value]) => `${name} ${textOf(value, seen)}`).join(" ");
}

function search(all, rows, wanted) {
  const words = wanted.toLowerCase().split(/\s+/).filter(Boolean);
  for (const one of all) one.hit = words.every(word => one.text.includes(word));
  for (const {block, entry, section, group, hit} of all) {
    block.hidden = entry.hidden = !hit;
    section.hidden = group.hidden = !all.some(one => one.section === section && one.hit);
  }
  for (const row of rows) row.hidden = !words.every(word => row.textContent.toLowerCase().includes(word));
  by("intro").hidden = words.length > 0;
  by("found").textContent = words.length ? `${all.filter(one => one.hit).length} of ${all.length} operations` : "";
}

function go() {
  const target = by(decodeURIComponent(location.hash.slice(1)));
  if (!target) return;
  if (target.tagName === "DETAILS") target.open = true;
  target.scrollIntoView();
  if (matchMedia("(max-width: 52rem)").matches) by("contents").open = false;
}

function theme(name) {
  document.documentElement.dataset.theme = name;
  by("theme").setAttribute("aria-pressed", name === "dark");
}

const kept = () => { try { return localStorage.getItem("theme"); } catch { return null; } };
const dark = matchMedia("(prefers-color-scheme: dark)");
theme(kept() || (dark.matches ? "dark" : "light"));
dark.addEventListener("change", () => kept() || theme(dark.matches ? "dark" : "light"));
by("theme").addEventListener("click", () => {
  theme(document.documentElement.dataset.theme === "dark" ? "light" : "dark");
  try { localStorage.setItem("theme", document.documentElement.dataset.theme); } catch { /* not kept, then */ }
});
if (matchMedia("(max-width: 52rem)").matches) by("contents").open = false;
addEventListener("hashchange", go);
addEventListener("keydown", event => {
  if (event.key === "/" && !/INPUT|TEXTAREA/.test(event.target.tagName)) { event.preventDefault(); by("search").focus(); }
});
fetch("/openapi.json").then(answer => answer.ok ? answer.json() : Promise.reject(answer.status)).then(document => {
  contract = document;
  render();
  go();
}).catch(reason => { by("found").textContent = `The contract cannot be shown: ${reason}`; });
