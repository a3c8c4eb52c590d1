// Building elements. Texts become text nodes, never markup: a script in a report cannot run.

export const find = (id) => document.getElementById(id);

// make("p", {class: "soft", onclick: f}, "text", child, …); null children are left out
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name.startsWith("aria-")) element.setAttribute(name, String(value));
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, String(value));
  }
  fill(element, ...children);
  return element;
}

export function fill(element, ...children) {
  element.replaceChildren(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export const count = (number) => number.toLocaleString("en");
export const several = (number, one, many = `${one}s`) => `${count(number)} ${number === 1 ? one : many}`;
