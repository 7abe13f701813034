// The console's script: theme, times in the viewer's zone, refresh of parts, and actions as the logged-in user.
// Every text it shows goes in as text, never as HTML.
"use strict";

const root = document.documentElement;
const framed = window.parent !== window;

// -- theme: Airflow's own switch, live -----------------------------------------------------------------------------
function host() {
  try {
    return framed ? window.parent.document.documentElement : null;
  } catch {
    return null;
  }
}

function theme() {
  let name = ["light", "dark"].find((each) => host()?.classList.contains(each));
  try {
    name ??= localStorage.getItem("theme"); // as Airflow keeps it: light, dark or system
  } catch { /* a browser may forbid it */ }
  root.classList.toggle("dark", name === "dark");
  root.classList.toggle("light", name === "light");
}

root.classList.toggle("framed", framed);
theme();
addEventListener("storage", theme);
if (host()) new MutationObserver(theme).observe(host(), { attributes: true, attributeFilter: ["class"] });

// -- times ---------------------------------------------------------------------------------------------------------
const UNITS = [["year", 31536000], ["month", 2592000], ["day", 86400], ["hour", 3600], ["minute", 60]];
const relative = new Intl.RelativeTimeFormat("en", { numeric: "always", style: "short" });
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const date = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });
const year = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric" });
const whole = new Intl.DateTimeFormat("en-GB", { dateStyle: "full", timeStyle: "long" });

function age(at) {
  const seconds = (at - Date.now()) / 1000;
  const [unit, size] = UNITS.find(([, each]) => Math.abs(seconds) >= each) ?? ["second", 1];
  return unit === "second" ? (seconds > 0 ? "in a moment" : "just now") : relative.format(Math.trunc(seconds / size), unit);
}

function times() {
  for (const element of document.querySelectorAll("time[data-shown]")) {
    const at = new Date(element.dateTime);
    const today = new Date();
    const day = at.toDateString() === today.toDateString() ? "" :
      (at.getFullYear() === today.getFullYear() ? date : year).format(at) + " ";
    const moment = day + clock.format(at);
    element.title = whole.format(at);
    const shown = { age: age(at), moment, both: `${moment} (${age(at)})`, day: day.trim() || "today" };
    element.textContent = shown[element.dataset.shown];
  }
}

// -- refresh of parts: an element with an id and data-refresh="seconds" --------------------------------------------
function busy(part) { // somebody is at it: it is left alone
  const at = document.activeElement;
  return part.querySelector("details.act[open], input:checked, form[data-running]")
    || part.contains(at) && at.matches("input, textarea, select");
}

async function refresh(wanted = () => true) {
  const parts = [...document.querySelectorAll("[data-refresh]")].filter(wanted);
  if (!parts.length) return;
  const answer = await fetch(location.href, { credentials: "same-origin" });
  if (!answer.ok) return;
  const news = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const part of parts) {
    const fresh = news.getElementById(part.id);
    if (fresh && !busy(part)) part.replaceWith(document.importNode(fresh, true));
  }
  settle();
}

let since = 0;
setInterval(() => {
  times();
  since += 5;
  if (document.hidden) return;
  refresh((part) => since % Number(part.dataset.refresh) === 0 && !busy(part)).catch(() => {}); // the next one may do
}, 5000);

// -- what is said --------------------------------------------------------------------------------------------------
function say(text, bad = false) {
  const place = document.getElementById("said");
  place.className = bad ? "bad" : "";
  place.textContent = text;
}

class Refused extends Error {}

async function ask(method, url, body) {
  const headers = { "Content-Type": "application/json", "X-Telnyx-Porting": "1" };
  const sent = body === undefined ? undefined : JSON.stringify(body);
  let answer;
  try {
    answer = await fetch(url, { method, headers, body: sent, credentials: "same-origin" });
  } catch {
    throw new Refused("No answer from Airflow. It is not known whether it was done: try again, it is done once only.");
  }
  const told = await answer.json().catch(() => ({}));
  if (answer.ok || answer.status === 409) return told;
  const detail = told.text ?? told.detail ?? answer.statusText;
  const why = typeof detail === "string" ? detail : JSON.stringify(detail);
  throw new Refused(answer.status === 401 ? "You are not logged in any more: log in to Airflow again." :
    answer.status === 403 ? `Not allowed: ${why}` : why);
}

const api = (path) => `${document.body.dataset.airflow}/api/v2/${path}`;
const pause = (seconds) => new Promise((done) => setTimeout(done, seconds * 1000));

// -- actions -------------------------------------------------------------------------------------------------------
const fields = (form) => Object.fromEntries([...new FormData(form)].filter(([, value]) => value !== ""));

async function command(form) { // on findings: the console does it
  const ticked = [...document.querySelectorAll("input[name=keys]:checked")].map((box) => box.value);
  if (!form.dataset.body && !ticked.length) throw new Refused("Tick something first.");
  const these = form.dataset.body ? JSON.parse(form.dataset.body) : { keys: ticked };
  const told = await ask("POST", form.action, { ...these, ...fields(form) });
  say(told.text, told.failed > 0);
  form.closest("details")?.removeAttribute("open");
  for (const box of document.querySelectorAll("input:checked")) box.checked = false;
}

async function run(form) { // a run of a DAG: Airflow does it
  const { dag, runId } = form.dataset;
  const conf = { ...JSON.parse(form.dataset.conf), ...fields(form) };
  const consents = [...form.parentElement.querySelectorAll("input[name=consents]:checked")].map((box) => box.value);
  if (consents.length) conf.consents = consents;
  await ask("POST", api(`dags/${dag}/dagRuns`), { dag_run_id: runId, logical_date: null, conf });
  await follow(form, dag, runId);
}

async function follow(form, dag, runId) {
  const place = form.querySelector("output");
  const path = `dags/${dag}/dagRuns/${encodeURIComponent(runId)}`;
  const link = document.createElement("a");
  link.href = `${document.body.dataset.airflow}/dags/${dag}/runs/${encodeURIComponent(runId)}`;
  link.dataset.out = "airflow";
  link.textContent = "open the run";
  for (let state = ""; state !== "success" && state !== "failed"; await pause(1.5)) {
    state = (await ask("GET", api(path))).state;
    const paused = state === "queued" && (await ask("GET", api(`dags/${dag}`))).is_paused;
    const words = paused ? `waits: the DAG ${dag} is paused in Airflow` : `run ${state}`;
    const waits = state === "running" && await waiting(path);
    place.replaceChildren(waits ? "waits for an approval; " : `${words}; `, link);
    if (waits) {
      await lead(form, path, place);
      return refresh((part) => !part.contains(form));
    }
  }
  const ended = await ask("GET", api(path));
  const told = await left(path, "report");
  place.replaceChildren(told?.text ? `${told.text} ` : "", link);
  await lead(form, path, place);
  const ok = ended.state === "success";
  say(told?.text ?? `The run ${ok ? "ended" : "failed"}; its log says more.`, !ok);
  if (ok) document.getElementById(form.dataset.then ?? "")?.removeAttribute("hidden");
  await refresh((part) => !part.contains(form));
}

async function lead(form, path, place) { // to the plan that the run made
  const plan = form.dataset.plans && (await left(path, "plan"))?.plan_id;
  if (!plan) return;
  const link = document.createElement("a");
  link.href = form.dataset.plans.replace("PLAN", encodeURIComponent(plan));
  link.textContent = "open the plan";
  place.append(" ", link);
}

async function waiting(path) {
  const { task_instances: tasks } = await ask("GET", api(`${path}/taskInstances?limit=50`));
  return tasks?.some((task) => task.state === "awaiting_input");
}

async function left(path, task) { // what a task left for others
  try {
    return (await ask("GET", api(`${path}/taskInstances/${task}/xcomEntries/return_value?deserialize=false`))).value;
  } catch {
    return null;
  }
}

// -- approvals: Airflow asks, a person answers ---------------------------------------------------------------------
async function approvals() {
  for (const place of document.querySelectorAll("[data-approval]:not([data-looked])")) {
    place.dataset.looked = "1";
    const { approval: plan, hash } = place.dataset;
    const open = await ask("GET", api("dags/porting_republish/dagRuns/~/hitlDetails?response_received=false&limit=100"));
    const mine = open.hitl_details?.find(({ body }) => body?.includes(plan) && body.includes(hash));
    if (!mine) continue;
    const task = mine.task_instance;
    place.querySelector("form").dataset.answer =
      `dags/porting_republish/dagRuns/${encodeURIComponent(task.dag_run_id)}/taskInstances/${task.task_id}/-1/hitlDetails`;
    place.hidden = false;
  }
}

async function answer(form, button) {
  await ask("PATCH", api(form.dataset.answer), { chosen_options: [button.value], params_input: {} });
  say(button.value === "Approve" ? "Approved. What is sent shows here as it goes." : "Rejected: nothing is sent.");
}

// -- last runs of the DAGs, as far as the viewer may see them ------------------------------------------------------
async function lastRuns() {
  for (const place of document.querySelectorAll("[data-last-run]:not([data-looked])")) {
    place.dataset.looked = "1";
    try {
      const { dag_runs: runs } = await ask("GET", api(`dags/${place.dataset.lastRun}/dagRuns?limit=1&order_by=-run_after`));
      const state = document.createElement("span");
      if (runs.length) {
        state.className = `tag ${{ failed: "critical", success: "good" }[runs[0].state] ?? "low"}`;
        state.textContent = runs[0].state;
        const at = document.createElement("time");
        at.dateTime = runs[0].run_after;
        at.dataset.shown = "both";
        place.replaceChildren(state, " ", at);
      } else place.textContent = "no run yet: is it paused?";
    } catch (error) {
      place.textContent = error.message;
    }
  }
  times();
}

// -- wiring --------------------------------------------------------------------------------------------------------
document.addEventListener("submit", async (event) => {
  const form = event.target;
  const act = form.dataset.run ? run : form.dataset.command ? command : form.dataset.answer ? answer : null;
  if (!act) return;
  event.preventDefault();
  if (form.dataset.running) return; // a second click is the first one
  form.dataset.running = "1";
  const buttons = [...form.querySelectorAll("button")];
  buttons.forEach((button) => { button.disabled = true; });
  try {
    await act(form, event.submitter);
  } catch (error) {
    say(error.message, true);
  }
  delete form.dataset.running;
  buttons.forEach((button) => { button.disabled = false; });
  if (act !== run) refresh().catch(() => {});
});

document.addEventListener("change", (event) => {
  if (event.target.dataset.all) {
    for (const box of document.querySelectorAll(`input[name="${event.target.dataset.all}"]`)) box.checked = event.target.checked;
  }
});

document.addEventListener("click", (event) => { // Airflow's frame lets nothing out: a link in the page around it may go
  const link = event.target.closest("a[data-out]");
  if (!link || !host()) return;
  event.preventDefault();
  const outside = window.parent.document.createElement("a");
  outside.href = link.href;
  if (link.dataset.out !== "airflow") Object.assign(outside, { target: "_blank", rel: "noopener noreferrer" });
  window.parent.document.body.append(outside);
  outside.click();
  outside.remove();
});

function settle() {
  times();
  approvals().catch((error) => say(error.message, true));
  lastRuns();
}

document.addEventListener("DOMContentLoaded", settle);
