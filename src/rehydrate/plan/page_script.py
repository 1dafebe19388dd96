"""The script of the plan page: details of what is pointed at or chosen with the keyboard.

It writes text nodes only, never markup, and asks nothing of any network. Without it the page shows
the same drawings.
"""

from typing import Final

__all__ = ["SCRIPT"]

SCRIPT: Final = r"""
"use strict";
(() => {
const data = JSON.parse(document.getElementById("plan-data").textContent);
let serial = 0;
const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
const count = n => Math.round(n).toLocaleString("en");
const amount = n => {
  let at = 0, value = n;
  while (value >= 1023.95 && at < units.length - 1) { value /= 1024; at += 1; }
  return at ? value.toFixed(value < 10 ? 2 : 1) + " " + units[at] : Math.round(n) + " B";
};
const exact = n => n < 1024 ? count(n) + " B" : amount(n) + " (" + count(n) + " B)";
const add = (parent, tag, text, name) => {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (name) made.className = name;
  parent.append(made);
  return made;
};
const fact = (list, name, value) => {
  add(list, "dt", name);
  const place = add(list, "dd");
  if (Array.isArray(value)) {
    const inner = add(place, "ul");
    value.forEach(each => {
      const line = add(inner, "li");
      if (each.colour) add(line, "i", undefined, "key " + each.colour);
      line.append(each.text);
    });
  } else place.textContent = value;
};
const share = (part, whole) => whole ? " (" + (100 * part / whole).toFixed(1) + " %)" : "";

function telling(part, round) {
  const shared = part.groups.length;
  const groupName = g => g === shared ? "needed by several" : part.groups[g].name;
  const colour = g => g === shared ? "cs" : part.groups[g].colour;
  const fileName = f => part.files[f] === undefined ? "smaller files" : part.files[f];
  const files = list => {
    const names = list.slice(0, 3).map(f => ({text: fileName(f)}));
    if (list.length > 3) names.push({text: "and more"});
    return names;
  };
  const stepText = number => {
    const [, start, end, extents, reads, needed, toRead] = round.steps[number];
    return "step " + count(number + 1) + ": " + amount(start) + " to " + amount(end) + ", " +
      count(reads) + (reads === 1 ? " read" : " reads") + ", " + amount(toRead) +
      (extents > 1 ? " in " + count(extents) + " extents" : "");
  };
  const lane = number => {
    const mine = round.lanes[number];
    const sums = new Map();
    mine.marks.forEach(m => sums.set(m[2], (sums.get(m[2]) || 0) + m[3]));
    const groups = [...sums].sort((a, b) => b[1] - a[1])
      .map(([g, bytes]) => ({colour: colour(g), text: groupName(g) + ": " + amount(bytes)}));
    const facts = [];
    if (mine.containers > 1) {
      facts.push(["containers", count(mine.containers) + ", from the first to the last named"]);
    }
    facts.push(["needed", exact(mine.needed)]);
    facts.push(["to read", exact(mine.toRead) + share(mine.toRead, mine.size)]);
    facts.push(["reads", count(mine.reads)]);
    facts.push(["size known", amount(mine.size)]);
    const steps = mine.steps.slice(0, 12).map(s => ({text: stepText(s)}));
    if (mine.steps.length > 12) steps.push({text: "and " + (mine.steps.length - 12) + " more"});
    if (steps.length) facts.push(["order", steps]);
    if (groups.length) facts.push(["for", groups]);
    return [mine.names[0] === mine.names[1] ? mine.names[0] : mine.names.join(" … "), facts];
  };
  const item = (number, at) => {
    const mine = round.lanes[number];
    const title = mine.names[0] === mine.names[1] ? mine.names[0] : mine.names.join(" … ");
    if (!mine.marks.length) {
      const [, start, end, , reads, needed, toRead] = round.steps[mine.steps[at]];
      return [title, [["range", range(start, end)], ["order", "step " + count(mine.steps[at] + 1)],
        ["reads", count(reads)], ["needed", exact(needed)], ["to read", exact(toRead)]]];
    }
    const [start, end, g, needed, list] = mine.marks[at];
    const inside = mine.steps.filter(s => round.steps[s][1] < end && round.steps[s][2] > start);
    const facts = [["range", range(start, end)], ["needed", exact(needed)]];
    if (needed < end - start) facts[1][1] += share(needed, end - start);
    facts.push(["for", [{colour: colour(g), text: groupName(g)}]]);
    facts.push(["files", files(list)]);
    if (inside.length) {
      facts.push(["order", "step " + inside.slice(0, 6).map(s => count(s + 1)).join(", ")]);
    }
    facts.push(["stretch", count(at + 1) + " of " + count(mine.marks.length)]);
    return [title, facts];
  };
  const range = (start, end) =>
    amount(start) + " to " + amount(end) + " (bytes " + count(start) + " to " + count(end) + ")";
  return {lane, item};
}

function section(root) {
  const part = data.parts[Number(root.dataset.part)];
  const pane = root.querySelector(".details");
  const show = ([title, facts]) => {
    pane.replaceChildren();
    add(pane, "h3", title);
    const list = add(pane, "dl");
    facts.forEach(([name, value]) => fact(list, name, value));
  };
  root.querySelectorAll("[data-chart=lanes]").forEach(chart => lanes(chart, part, show));
  root.querySelectorAll("[data-chart=files]").forEach(chart => rows(chart, i => show(file(part, i))));
  root.querySelectorAll("[data-chart=tape]").forEach(chart => tape(chart, part, show));
  root.querySelectorAll(".legend button").forEach(button => {
    button.addEventListener("click", () => {
      const on = button.getAttribute("aria-pressed") !== "true";
      root.querySelectorAll(".legend button").forEach(each =>
        each.setAttribute("aria-pressed", String(on && each === button)));
      root.querySelectorAll("path[data-g]").forEach(each =>
        each.classList.toggle("dim", on && each.dataset.g !== button.dataset.g));
    });
  });
  root.querySelectorAll(".tools input").forEach(box => {
    box.addEventListener("change", () => root.classList.toggle("hide-way", !box.checked));
  });
}

function rows(chart, show, across) {
  const all = [...chart.querySelectorAll(".row")];
  let at = -1;
  const choose = (index, quietly) => {
    if (!all.length) return;
    if (at >= 0) all[at].setAttribute("aria-selected", "false");
    at = Math.max(0, Math.min(all.length - 1, index));
    all[at].setAttribute("aria-selected", "true");
    all[at].id = all[at].id || "row-" + (serial += 1);
    chart.setAttribute("aria-activedescendant", all[at].id);
    if (!quietly) all[at].scrollIntoView({block: "nearest"});
    show(at);
  };
  chart.addEventListener("keydown", event => {
    const page = 10;
    const goes = {ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: all.length - 1,
      PageDown: at + page, PageUp: at - page};
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    if (event.key in goes) { choose(goes[event.key]); event.preventDefault(); }
    else if (across && (event.key === "ArrowRight" || event.key === "ArrowLeft")) {
      if (at < 0) choose(0, true);
      across(at, event.key === "ArrowRight" ? 1 : -1);
      event.preventDefault();
    }
  });
  chart.addEventListener("focus", () => { if (at < 0 && chart.matches(":focus-visible")) choose(0); });
  chart.addEventListener("mousemove", event => {
    const row = event.target.closest(".row");
    if (row && !across) choose(Number(row.dataset.i), true);
  });
  return {choose, chosen: () => at};
}

function lanes(chart, part, show) {
  const round = part.rounds[Number(chart.dataset.i)];
  const tell = telling(part, round);
  const svg = chart.querySelector("svg");
  const here = document.createElementNS("http://www.w3.org/2000/svg", "path");
  here.setAttribute("class", "here");
  svg.append(here);
  const items = number => {
    const mine = round.lanes[number];
    return mine.marks.length ? mine.marks : mine.steps.map(s => round.steps[s].slice(1, 3));
  };
  let item = -1;
  const mark = (number, index) => {
    item = index;
    const [start, end] = items(number)[index];
    const scale = 1000 / round.widest, y = number * 100 + 16;
    const left = start * scale, wide = Math.max((end - start) * scale, 1);
    here.setAttribute("d", "M" + left + " " + y + "h" + wide + "v68h" + -wide + "z");
    show(tell.item(number, index));
  };
  const control = rows(chart, number => {
    item = -1;
    here.setAttribute("d", "");
    show(tell.lane(number));
  }, (number, step) => {
    const last = items(number).length - 1;
    if (last >= 0) mark(number, Math.max(0, Math.min(last, item < 0 && step < 0 ? last : item + step)));
  });
  const under = (event, row) => {
    const box = row.querySelector(".bar").getBoundingClientRect();
    const x = (event.clientX - box.left) / box.width * round.widest;
    const near = 3 / box.width * round.widest;
    let best = -1, size = Infinity;
    if (event.clientX < box.left - 3 || event.clientX > box.right + 3) return best;
    items(Number(row.dataset.i)).forEach(([start, end], index) => {
      if (start - near <= x && x <= end + near && end - start < size) {
        best = index;
        size = end - start;
      }
    });
    return best;
  };
  chart.addEventListener("mousemove", event => {
    const row = event.target.closest(".row");
    if (!row) return;
    const number = Number(row.dataset.i), index = under(event, row);
    if (control.chosen() !== number || (index < 0 && item >= 0)) control.choose(number, true);
    if (index >= 0 && index !== item) mark(number, index);
  });
}

function file(part, index) {
  const [name, size, begin, finish, group, seconds] = part.times[index];
  const facts = [["size", exact(size)]];
  if (part.groups[group]) {
    facts.push(["shown as", [{colour: part.groups[group].colour, text: part.groups[group].name}]]);
  }
  if (finish < 0) facts.push(["finished", "not complete: a container is not offered"]);
  else {
    facts.push(["begins", "after " + exact(begin) + " of the data are read"]);
    facts.push(["finished", "after " + exact(finish) + share(finish, part.total)]);
  }
  if (seconds) facts.push(["expected", seconds]);
  return [name, facts];
}

function tape(chart, part, show) {
  const found = part.tapes[Number(chart.dataset.i)];
  const here = chart.querySelector(".here");
  let at = -1;
  const choose = index => {
    if (!found.passes.length) return;
    at = Math.max(0, Math.min(found.passes.length - 1, index));
    const [wrap, begin, end, container, seconds] = found.passes[at];
    const scale = 1000 / (found.length || 1);
    const low = Math.min(begin, end) * scale, wide = Math.max(Math.abs(end - begin) * scale, 3);
    const margin = Math.max(10, found.wraps * 0.12);
    here.setAttribute("d", "M" + low + " " + (wrap * 10 + 5 - margin) + "h" + wide + "v" +
      2 * margin + "h" + -wide + "z");
    const facts = [["stretch", count(at + 1) + " of " + count(found.passes.length)],
      ["wrap", count(wrap) + (wrap % 2 ? ", back to the load point" : ", away from the load point")],
      ["place", begin.toFixed(1) + " m to " + end.toFixed(1) + " m"]];
    if (container !== null && part.containers[container] !== undefined) {
      facts.push(["container", part.containers[container]]);
    }
    if (seconds !== null) facts.push(["locate", seconds.toFixed(1) + " s"]);
    show(["Tape " + found.name, facts]);
  };
  chart.addEventListener("keydown", event => {
    const goes = {ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1,
      Home: 0, End: found.passes.length - 1};
    if (event.altKey || event.ctrlKey || event.metaKey || !(event.key in goes)) return;
    choose(goes[event.key]);
    event.preventDefault();
  });
  chart.addEventListener("focus", () => { if (at < 0 && chart.matches(":focus-visible")) choose(0); });
  chart.addEventListener("mousemove", event => {
    const box = chart.querySelector("svg").getBoundingClientRect();
    const x = (event.clientX - box.left) / box.width * found.length;
    const y = (event.clientY - box.top) / box.height * found.wraps - 0.5;
    let best = -1, least = 12;
    found.passes.forEach(([wrap, begin, end], index) => {
      const low = Math.min(begin, end), high = Math.max(begin, end);
      const dx = Math.max(low - x, 0, x - high) / found.length * box.width;
      const far = Math.hypot(dx, (wrap - y) / found.wraps * box.height);
      if (far < least) { least = far; best = index; }
    });
    if (best >= 0 && best !== at) choose(best);
  });
}

document.querySelectorAll(".part").forEach(section);
document.documentElement.dataset.ready = "true";
})();
"""
