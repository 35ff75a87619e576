// Charts: drawn when they come near, the rest at idle time, so that a print has them all.
const config = JSON.parse(document.getElementById("chart-config").textContent);
const waiting = new Set(all(".plot"));

async function draw(plot) {
  if (!waiting.delete(plot)) return;
  const spec = JSON.parse(document.getElementById(`spec-${plot.dataset.plot}`).textContent);
  try {
    const { view } = await vegaEmbed(plot.firstElementChild, spec, {
      mode: "vega-lite", renderer: "svg", ast: true, actions: false, config,
      logLevel: 1,  // errors: it warns of empty panels before their task is chosen
    });
    await connect(plot, view);
    plot.dataset.drawn = "yes";
  } catch (error) {
    plot.dataset.drawn = "no";
    plot.firstElementChild.textContent = "This chart could not be drawn; its numbers stand in the tables.";
    console.error(error);
  }
}

// The figure's own selects set its signals; the page's task sets "task", and stands above it.
async function connect(plot, view) {
  const figure = plot.closest("figure");
  for (const select of all("select[data-choice]", figure)) {
    const apply = () => view.signal(select.dataset.choice, select.value).runAsync();
    select.addEventListener("change", apply);
  }
  const tasks = JSON.parse(plot.dataset.tasks ?? "[]");
  if (tasks.length === 0) return;
  const show = async () => {
    const task = tasks.includes(chosen.task) ? chosen.task : tasks[0];
    await view.signal("task", task).runAsync();
    figure.querySelector(".of-task").textContent = task;
  };
  document.addEventListener("task", show);
  await show();
}

const near = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (isIntersecting) { near.unobserve(target); draw(target); }
  }
}, { rootMargin: "700px 0px" });
waiting.forEach((plot) => near.observe(plot));

const idle = globalThis.requestIdleCallback ?? ((work) => setTimeout(work, 60));
function drawRest() {
  const [next] = waiting;
  if (next) draw(next).then(() => idle(drawRest));
}
addEventListener("load", () => idle(drawRest));
addEventListener("beforeprint", () => [...waiting].forEach(draw));
