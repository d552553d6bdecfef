"use strict";

// Runs are hidden and shown everywhere at once.
for (const box of document.querySelectorAll("nav.runs input")) {
  box.addEventListener("change", () => {
    for (const part of document.querySelectorAll(`.of-run-${box.dataset.run}`)) {
      part.classList.toggle("off", !box.checked);
    }
  });
}

// The read-out: of every curve the point nearest to the pointer's step.
function nearest(steps, step) {
  let low = 0;
  let high = steps.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (steps[middle] <= step) low = middle;
    else high = middle;
  }
  return step - steps[low] <= steps[high] - step ? low : high;
}

function row(colour, label, value) {
  const line = document.createElement("div");
  const name = document.createElement("span");
  name.textContent = label;
  if (colour) {
    const swatch = document.createElement("i");
    swatch.className = "swatch";
    swatch.style.background = colour;
    line.append(swatch);
  } else {
    line.className = "step";
  }
  line.append(name, value);
  return line;
}

for (const chart of document.querySelectorAll("figure.chart")) {
  const source = chart.querySelector("script");
  if (!source) continue;
  const { last, series } = JSON.parse(source.textContent);
  const area = chart.querySelector(".area");
  const readout = chart.querySelector(".readout");
  const cursor = document.createElement("div");
  cursor.className = "cursor off";
  area.append(cursor);

  area.addEventListener("pointermove", (event) => {
    const box = area.getBoundingClientRect();
    const share = Math.min(Math.max((event.clientX - box.left) / box.width, 0), 1);
    const step = share * last;
    const rows = [];
    for (const { label, run, colour, steps, values } of series) {
      if (!document.querySelector(`input[data-run="${run}"]`).checked) continue;
      if (step > steps[steps.length - 1] + last / 50) continue; // the curve has ended
      const index = nearest(steps, step);
      const value = values[index].toPrecision(5);
      const at = steps[index].toLocaleString("en");
      rows.push(row(colour, label, `${value} at ${at}`));
    }
    readout.replaceChildren(row("", `step ${Math.round(step).toLocaleString("en")}`, ""), ...rows);
    cursor.style.left = `${100 * share}%`;
    cursor.classList.remove("off");
  });
  area.addEventListener("pointerleave", () => {
    readout.replaceChildren();
    cursor.classList.add("off");
  });
}
