// What makes the pages more pleasant. Without it everything works. Browsers run it only as the Content-Security-Policy names it,
// by its hash, so restart the app after a change.
"use strict";

// "Try again in 7 seconds": count down.
for (const text of document.querySelectorAll("[data-seconds]")) {
  let left = Number(text.dataset.seconds);
  const words = text.textContent.split(String(left));
  const timer = setInterval(() => {
    left -= 1;
    text.textContent = left > 0 ? words.join(String(left)) : text.dataset.done;
    if (left <= 0) clearInterval(timer);
  }, 1000);
}

// Copy what the page shows.
for (const button of document.querySelectorAll("[data-copies]")) {
  const words = button.textContent;
  button.hidden = !navigator.clipboard;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copies).textContent);
    button.textContent = button.dataset.done;
    setTimeout(() => { button.textContent = words; }, 2000);
  });
}

// The menu closes at a click elsewhere, and at Escape.
for (const menu of document.querySelectorAll("details.account")) {
  document.addEventListener("click", (event) => { if (!menu.contains(event.target)) menu.open = false; });
  menu.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && menu.open) {
      menu.open = false;
      menu.querySelector("summary").focus();
    }
  });
}

// A bar moves until the next page is there.
const waiting = document.documentElement.classList;
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[href^='/']");
  if (link && !(event.ctrlKey || event.metaKey || event.shiftKey || event.defaultPrevented)) waiting.add("waiting");
});
document.addEventListener("submit", () => waiting.add("waiting"));
addEventListener("pageshow", () => waiting.remove("waiting"));
