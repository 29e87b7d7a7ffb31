// Draws the figures with the colours of the page, and again when the reader switches between light and dark.
(function () {
  "use strict";
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const figures = document.querySelectorAll("script[data-figure]");

  function colour(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  }

  function themed(layout) {
    const axis = { gridcolor: colour("--line"), linecolor: colour("--line"), zerolinecolor: colour("--line"), automargin: true };
    return Object.assign({}, layout, {
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: getComputedStyle(document.body).fontFamily, size: 13, color: colour("--text") },
      hoverlabel: { bgcolor: colour("--card"), bordercolor: colour("--line"), font: { color: colour("--text") } },
      margin: { l: 8, r: 14, t: 8, b: 8, autoexpand: true },
      xaxis: Object.assign({}, axis, layout.xaxis),
      yaxis: Object.assign({}, axis, layout.yaxis),
    });
  }

  function draw() {
    for (const source of figures) {
      const figure = JSON.parse(source.textContent);
      for (const trace of figure.data) {
        if (trace.error_x) trace.error_x.color = colour("--text");
      }
      const options = { responsive: true, displayModeBar: false };
      Plotly.react(source.dataset.figure, figure.data, themed(figure.layout), options);
    }
  }

  draw();
  dark.addEventListener("change", draw);
})();
