// Theme, place in the page, the choice of a task, and print.
const all = (selector, within = document) => [...within.querySelectorAll(selector)];

function setUpTheme() {
  const root = document.documentElement;
  const button = document.querySelector(".theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ?? (system.matches ? "dark" : "light")) === "dark";
  const name = () => { button.textContent = isDark() ? "Light" : "Dark"; };
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    try { localStorage.setItem("raybench-theme", root.dataset.theme); } catch { /* not kept */ }
    name();
  });
  system.addEventListener("change", name);
  name();
}

function setUpPlace() {
  const links = new Map(all(".bar-top nav a").map((a) => [a.hash.slice(1), a]));
  const seen = new Set();
  const mark = () => {
    const first = [...links.keys()].find((id) => seen.has(id));
    for (const [id, link] of links) {
      if (id === first) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
    const list = document.querySelector(".bar-top nav");
    const link = links.get(first);
    if (link) list.scrollLeft = link.offsetLeft - list.offsetLeft - list.clientWidth / 3;
  };
  const watch = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting) seen.add(target.id); else seen.delete(target.id);
    }
    mark();
  }, { rootMargin: "-64px 0px -55% 0px" });
  all("main > section").forEach((section) => watch.observe(section));
}

// One task for the whole page: every picker, every group of panels, every chart by task.
const chosen = { task: "" };

function setUpTasks() {
  document.addEventListener("change", ({ target }) => {
    if (target.matches("[data-choice=task]")) choose(target.value);
  });
  const first = document.querySelector(".panel, [data-choice=task]");
  if (first) choose(first.dataset.task ?? first.value);
}

function choose(task) {
  chosen.task = task;
  for (const select of all("[data-choice=task]")) {
    if ([...select.options].some((option) => option.value === task)) select.value = task;
  }
  for (const group of all(".panels")) {
    const panels = all(":scope > .panel", group);
    const shown = panels.find((panel) => panel.dataset.task === task) ?? panels[0];
    panels.forEach((panel) => { panel.hidden = panel !== shown; });
  }
  document.dispatchEvent(new Event("task"));
}

function setUpPrint() {
  addEventListener("beforeprint", () => all("details").forEach((d) => { d.open = true; }));
}

// What goes on beyond the right edge is faded there, as not every system shows a scroll bar.
function setUpHints() {
  const mark = (box) => box.classList.toggle("more", box.scrollLeft + box.clientWidth < box.scrollWidth - 1);
  const watch = new ResizeObserver((seen) => seen.forEach(({ target }) => mark(target.closest(".scroll"))));
  for (const box of all(".scroll")) {
    box.addEventListener("scroll", () => mark(box), { passive: true });
    watch.observe(box);
    watch.observe(box.firstElementChild);
  }
}

setUpTheme();
setUpPlace();
setUpTasks();
setUpHints();
setUpPrint();
