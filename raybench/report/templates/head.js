// Before the first paint: scripts run, and a theme chosen earlier holds where storage is allowed.
(() => {
  const root = document.documentElement;
  root.classList.add("js");
  try {
    const kept = localStorage.getItem("raybench-theme");
    if (kept === "light" || kept === "dark") root.dataset.theme = kept;
  } catch { /* a file opened from disk may have no storage: the system's theme holds */ }
})();
