// A line over the last hour, in SVG: the area under the first series, and a second one dashed.

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 240;
const HEIGHT = 38;

export function sparkline() {
  const drawing = document.createElementNS(SVG, "svg");
  drawing.setAttribute("class", "spark");
  drawing.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  drawing.setAttribute("preserveAspectRatio", "none");
  drawing.setAttribute("aria-hidden", "true");
  const paths = Object.fromEntries(["base", "area", "second", "first"].map((name) => {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("class", name);
    drawing.append(path);
    return [name, path];
  }));
  paths.base.setAttribute("d", `M0 ${HEIGHT - 1} H${WIDTH}`);
  return { drawing, draw: (first, second) => draw(paths, first, second) };
}

function draw(paths, first, second) {
  const top = Math.max(1e-9, ...first, ...(second ?? []));
  paths.first.setAttribute("d", line(first, top));
  paths.area.setAttribute("d", first.length ? `${line(first, top)} L${WIDTH} ${HEIGHT - 1} L0 ${HEIGHT - 1} Z` : "");
  paths.second.setAttribute("d", second ? line(second, top) : "");
}

function line(values, top) {
  const step = WIDTH / Math.max(1, values.length - 1);
  return values.map((value, at) => `${at ? "L" : "M"}${(at * step).toFixed(1)} ${y(value / top)}`).join(" ");
}

function y(share) {
  return (HEIGHT - 1 - share * (HEIGHT - 4)).toFixed(1);
}
