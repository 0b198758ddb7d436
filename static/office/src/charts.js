// Plots: ECharts with the SVG renderer and only the parts in use; colours are read from tokens.css.
import { BarChart, LineChart } from "echarts/charts";
import { AriaComponent, GridComponent, LegendComponent, MarkLineComponent, TooltipComponent } from "echarts/components";
import * as echarts from "echarts/core";
import { SVGRenderer } from "echarts/renderers";

echarts.use([
  LineChart,
  BarChart,
  GridComponent,
  TooltipComponent,
  LegendComponent,
  MarkLineComponent,
  AriaComponent,
  SVGRenderer,
]);

const token = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const still = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

function axis(type, name, extra = {}) {
  return {
    type,
    name,
    nameLocation: "middle",
    nameGap: type === "value" && extra.vertical ? 44 : 30,
    nameTextStyle: { color: token("--muted") },
    axisLabel: { color: token("--muted"), fontFamily: token("--font"), formatter: extra.formatter },
    axisLine: { lineStyle: { color: token("--plot-grid") } },
    axisTick: { show: false },
    splitLine: { show: Boolean(extra.vertical), lineStyle: { color: token("--plot-grid") } },
    min: extra.min,
    max: extra.max,
    data: extra.data,
  };
}

const share = (v) => `${Math.round(v * 100)} %`;

// kind → option; data = {columns, rows, x, series: [{key, label, dashed?, area?}], xName, yName, percent?, mark?}
const KINDS = {
  line: (d) => common(d, "line"),
  bar: (d) => common(d, "bar"),
};

function common(d, type) {
  const number = typeof d.rows[0]?.[d.x] === "number" && type === "line";
  const colours = [1, 2, 3, 4, 5].map((n) => token(`--plot-${n}`));
  return {
    animation: !still(),
    animationDuration: 240,
    color: colours,
    textStyle: { fontFamily: token("--font") },
    grid: { left: 60, right: 20, top: d.series.length > 1 ? 36 : 16, bottom: 46 },
    tooltip: {
      trigger: "axis",
      backgroundColor: token("--panel"),
      borderColor: token("--line-colour"),
      textStyle: { color: token("--text"), fontSize: 13 },
      valueFormatter: (v) => (v == null ? "–" : d.percent ? share(v) : String(v)),
    },
    legend: d.series.length > 1 ? { top: 0, left: 0, textStyle: { color: token("--text") } } : undefined,
    xAxis: axis(number ? "value" : "category", d.xName, {
      min: d.xMin,
      max: d.xMax,
      data: number ? undefined : d.rows.map((r) => r[d.x]),
    }),
    yAxis: axis("value", d.yName, {
      vertical: true,
      min: d.yMin,
      max: d.yMax,
      formatter: d.percent ? share : undefined,
    }),
    series: d.series.map((s, i) => ({
      name: s.label,
      type,
      step: s.step,
      stack: d.stacked ? "all" : undefined,
      barMaxWidth: 36,
      showSymbol: d.rows.length < 3,
      lineStyle: { width: 2, type: s.dashed ? "dashed" : "solid" },
      areaStyle: s.area ? { opacity: 0.12 } : undefined,
      data: d.rows.map((r) => (number ? [r[d.x], r[s.key]] : r[s.key])),
      markLine:
        i === 0 && d.mark
          ? {
              symbol: "none",
              animation: false,
              label: { formatter: d.mark.label, color: token("--text"), fontFamily: token("--font") },
              lineStyle: { color: token("--differs"), type: "dashed", width: 2 },
              data: [{ xAxis: d.mark.x }],
            }
          : undefined,
    })),
  };
}

const charts = new Map();

function draw(figure) {
  const data = JSON.parse(figure.dataset.values);
  const place = figure.querySelector(".canvas");
  let chart = charts.get(place);
  if (!chart) {
    chart = echarts.init(place, null, { renderer: "svg" });
    charts.set(place, chart);
    new ResizeObserver(() => chart.resize()).observe(place);
    figure.querySelector(".tools").hidden = false;
  }
  chart.setOption(KINDS[figure.dataset.plot](data), true);
  figure.dataset.drawn = "";
  const range = document.querySelector(`[data-plot-mark="${figure.dataset.name}"]`);
  if (range && !range.dataset.tied) {
    range.dataset.tied = "1";
    range.addEventListener("input", () => moveMark(chart, data, range));
  }
}

// the draggable line of the threshold simulator: the slider moves it, the words say what it would do
function moveMark(chart, data, range) {
  const x = Number(range.value);
  chart.setOption({ series: [{ markLine: { data: [{ xAxis: x }] } }] });
  const near = data.rows.reduce((a, b) => (Math.abs(b[data.x] - x) < Math.abs(a[data.x] - x) ? b : a));
  const words = document.getElementById(`${range.dataset.plotMark}-words`);
  if (words) words.textContent = `${share(near[data.series[0].key])} of first readings would go to a second reader`;
}

function save(name, type, content) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([content], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

function csv(data) {
  const cell = (v) => (/[",\n]/.test(String(v ?? "")) ? `"${String(v).replaceAll('"', '""')}"` : String(v ?? ""));
  const head = data.columns.map((c) => cell(c.label)).join(",");
  return [head, ...data.rows.map((r) => data.columns.map((c) => cell(r[c.key])).join(","))].join("\n") + "\n";
}

function png(svg, name) {
  const image = new Image();
  const url = URL.createObjectURL(new Blob([svg], { type: "image/svg+xml" }));
  image.onload = () => {
    const canvas = document.createElement("canvas");
    canvas.width = image.width * 2;
    canvas.height = image.height * 2;
    const pen = canvas.getContext("2d");
    pen.fillStyle = token("--ground");
    pen.fillRect(0, 0, canvas.width, canvas.height);
    pen.drawImage(image, 0, 0, canvas.width, canvas.height);
    canvas.toBlob((blob) => save(`${name}.png`, "image/png", blob));
    URL.revokeObjectURL(url);
  };
  image.src = url;
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-export]");
  const figure = button?.closest("[data-plot]");
  if (!figure) return;
  const name = `concord-${figure.dataset.name}`;
  const svg = () => charts.get(figure.querySelector(".canvas")).renderToSVGString();
  if (button.dataset.export === "svg") save(`${name}.svg`, "image/svg+xml", svg());
  if (button.dataset.export === "png") png(svg(), name);
  if (button.dataset.export === "csv") save(`${name}.csv`, "text/csv", csv(JSON.parse(figure.dataset.values)));
});

const drawAll = () => document.querySelectorAll("[data-plot]").forEach(draw);
drawAll();
document.addEventListener("theme", drawAll);
document.addEventListener("renewed", drawAll);
document.addEventListener("htmx:afterSettle", drawAll);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
