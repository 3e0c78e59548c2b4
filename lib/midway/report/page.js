// Sort tables by a column's name.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
  heads.forEach((head, column) => {
    if (!head.textContent.trim()) return;
    const button = document.createElement("button");
    button.className = "sort";
    button.append(...head.childNodes);
    head.append(button);
    button.onclick = () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      heads.forEach((h) => h.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const key = (row) => {
        const text = (row.cells[column]?.textContent ?? "").trim().replace("−", "-").replace(/^< ?/, "");
        const value = parseFloat(text);
        return /^[-+]?[\d.]/.test(text) && !isNaN(value) ? value : text;
      };
      const order = (a, b) => {
        const [x, y] = [key(a), key(b)];
        if (typeof x !== typeof y) return typeof x === "number" ? -1 : 1;
        return (x < y ? -1 : x > y ? 1 : 0) * (up ? 1 : -1);
      };
      for (const body of table.tBodies) body.append(...[...body.rows].sort(order));
    };
  });
}

// A click on a number's cell puts its link into the address bar.
document.addEventListener("click", (event) => {
  const cell = event.target.closest("td[id], tr[id]");
  if (cell && !event.target.closest("a")) location.replace("#" + cell.id);
});
const reveal = () => document.getElementById(location.hash.slice(1))?.closest("details")?.setAttribute("open", "");
addEventListener("hashchange", reveal);
reveal();

// The chooser: any predictor against any outcome, tasks left out by a click.
const place = document.getElementById("chooser");
if (place) {
  const data = JSON.parse(document.getElementById("data").textContent);
  const left = new Set();
  const [W, H, L, B] = [460, 330, 52, 44];
  const made = (name, attributes, parent, text) => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [k, v] of Object.entries(attributes)) node.setAttribute(k, v);
    if (text !== undefined) node.textContent = text;
    parent?.append(node);
    return node;
  };
  const num = (v, sign) => v == null ? "–" : ((sign && v > 0 ? "+" : "") + v.toFixed(2)).replace("-", "−");
  const ranks = (v) => v.map((a) => v.filter((b) => b < a).length + (v.filter((b) => b === a).length + 1) / 2);
  const rho = (x, y) => {
    const [a, b] = [ranks(x), ranks(y)], m = (x.length + 1) / 2;
    const sum = (f) => a.reduce((t, _, i) => t + f(a[i] - m, b[i] - m), 0);
    return sum((p, q) => p * q) / Math.sqrt(sum((p) => p * p) * sum((_, q) => q * q));
  };
  const ticks = (low, high) => {
    const raw = (high - low) / 4, size = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 2.5, 5, 10].map((s) => s * size).find((s) => s >= raw);
    const out = [];
    for (let k = Math.ceil(low / step); k * step <= high; k++) out.push(+(k * step).toPrecision(6));
    return out;
  };
  const select = (label, values, chosen) => {
    const box = document.createElement("label"), list = document.createElement("select");
    box.append(label + " ", list);
    for (const v of values) list.add(new Option(data.names[v] ?? v, v, false, v === chosen));
    list.onchange = draw;
    place.append(box);
    return list;
  };
  const pairs = new Map(data.pairs.map((r) => [r[0] + "\n" + r[1], r]));
  const has = (p, o) => pairs.has(p + "\n" + o) || pairs.has(p + ":" + o + "\n" + o);
  const xs = select("predictor", [...new Set(data.pairs.map((r) => r[0]))], data.pairs.find((r) => r[0] === "main")?.[0]);
  const ys = select("outcome", [...new Set(data.pairs.map((r) => r[1]))], "average");
  const svg = made("svg", {class: "figure chooser", viewBox: `0 0 ${W} ${H}`, role: "group"}, place);
  const said = document.createElement("p");
  said.setAttribute("aria-live", "polite");
  place.append(said);

  function draw() {
    const [p, o] = [xs.value, ys.value];
    const all = Object.keys(data.x[p]).filter((u) => u in (data.y[o] ?? {}));
    const kept = all.filter((u) => !left.has(u));
    const [x, y] = [all.map((u) => data.x[p][u]), all.map((u) => data.y[o][u])];
    const wide = (v) => { const a = Math.min(...v), b = Math.max(...v), c = (b - a || 1) * 0.1; return [a - c, b + c]; };
    const [[x0, x1], [y0, y1]] = [wide(x), wide([0, ...y])];
    const at = (a, b) => [L + (a - x0) / (x1 - x0) * (W - L - 70), H - B - (b - y0) / (y1 - y0) * (H - B - 10)];
    svg.replaceChildren();
    svg.setAttribute("aria-label", `Scatter of ${data.names[p]} against ${data.names[o]}, ${all.length} tasks`);
    for (const t of ticks(y0, y1)) {
      const v = at(x0, t)[1];
      made("path", {class: t ? "grid" : "zero", d: `M${L} ${v}H${W - 70}`}, svg);
      made("text", {x: L - 6, y: v + 4, "text-anchor": "end"}, svg, String(t).replace("-", "−"));
    }
    for (const t of ticks(x0, x1)) made("text", {x: at(t, y0)[0], y: H - B + 16, "text-anchor": "middle"}, svg, String(t).replace("-", "−"));
    made("text", {x: (L + W - 70) / 2, y: H - 6, "text-anchor": "middle"}, svg, data.names[p]);
    made("text", {x: 12, y: (H - B) / 2, "text-anchor": "middle", transform: `rotate(-90 12 ${(H - B) / 2})`}, svg, `${data.axes[o]}`);
    const spots = all.map((u, i) => at(x[i], y[i])), taken = spots.map(([a, b]) => [a - 6, b - 6, a + 6, b + 6]);
    const free = (u, a, b) => {  // the first place beside its dot where a name covers nothing
      const w = 6.2 * data.names[u].length, places = [[8, 4], [-8 - w, 4], [-w / 2, -9], [-w / 2, 17]];
      const boxes = places.map(([dx, dy]) => [a + dx, b + dy - 10, a + dx + w, b + dy + 2]);
      const clear = boxes.findIndex((m) => m[0] > L && m[2] < W && !taken.some((t) => m[0] < t[2] && t[0] < m[2] && m[1] < t[3] && t[1] < m[3]));
      taken.push(boxes[Math.max(clear, 0)]);
      return places[Math.max(clear, 0)];
    };
    all.forEach((u, i) => {
      const [a, b] = spots[i], [dx, dy] = free(u, a, b);
      const dot = made("g", {class: "dot", tabindex: 0, role: "button", "aria-pressed": left.has(u), "data-unit": u, "aria-label": `${data.names[u]}: ${num(x[i])} and ${num(y[i], true)} points`}, svg);
      made("title", {}, dot, `${data.names[u]} (${u}): ${num(x[i])} and ${num(y[i], true)} points`);
      made("circle", {cx: a, cy: b, r: 5.5}, dot);
      made("text", {x: a + dx, y: b + dy}, dot, data.names[u]);
      dot.onclick = () => { left.has(u) ? left.delete(u) : left.add(u); draw(); svg.querySelector(`[data-unit="${u}"]`).focus(); };
      dot.onkeydown = (e) => { if (e.key === "Enter" || e.key === " ") { e.preventDefault(); dot.onclick(); } };
    });
    const row = pairs.get(p + "\n" + o);
    let text = row ? `All ${row[2]} tasks: rho ${num(row[3], true)} (${num(row[4], true)} to ${num(row[5], true)}), p ${num(row[6])}, family-wise p ${num(row[7])}.`
      : "This pair was not tested: the predictor belongs to another target.";
    if (kept.length < all.length) {
      const v = kept.length > 2 ? rho(kept.map((u) => data.x[p][u]), kept.map((u) => data.y[o][u])) : null;
      text += ` Without ${all.filter((u) => left.has(u)).map((u) => data.names[u]).join(", ")}: rho ${num(v, true)}, n = ${kept.length}, not tested.`;
    }
    said.textContent = text;
  }
  draw();
}
