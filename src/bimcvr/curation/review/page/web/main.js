// The review page: the list of questions, the one that is shown, and the reviewer's answers to it.

import { call } from "./api.js";
import { count, fill, find, make, several } from "./dom.js";
import { labelsNow, setKnownLabels, setUpLabels, showLabels } from "./labels.js";
import { setUpPictures, showVolume, warm, windowKey } from "./pictures.js";
import { showTexts } from "./texts.js";

const REVIEWER_KEY = "bimcvr-reviewer";
const NOTHING = { decision: "", corrected: "", labels: null };
const DONE = { accept: "Accepted", reject: "Rejected", correct: "Corrected" };

let queue = null;
let at = null; // the name of the question that is shown
let details = null; // its texts, once they are shown: nobody decides on what they have not seen
let saving = false;
let refused = 0; // the status of the last answer that was not written
const undoable = []; // {question, reviewer, before, after}, the last answer last
const drafts = new Map(); // question → a corrected text that is not saved

const reviewer = () => find("reviewer").value.trim();
const byName = (name) => queue?.questions.find((one) => one.question === name);

// --- the list

async function loadQueue() {
  let loaded;
  try {
    loaded = await call("api/queue", { query: { reviewer: reviewer() } });
  } catch (error) {
    fill(find("problem"), `${error.message} `, make("button", { type: "button", onclick: loadQueue }, "Try again"));
    return;
  }
  fill(find("problem"));
  const before = JSON.stringify(byName(at)?.mine);
  queue = loaded;
  fill(find("reviewers"), queue.reviewers.map((name) => make("option", { value: name })));
  setKnownLabels(queue.labels);
  showFacts();
  const present = byName(at) ?? byName(location.hash.slice(1));
  if (!present || present.question !== at) await open(present ?? matching()[0] ?? queue.questions[0]);
  else {
    showAnswer();
    if (JSON.stringify(present.mine) !== before) showAnsweredLabels();
  }
}

function showFacts() {
  const { questions, synthetic } = queue;
  const studies = new Set(questions.map((one) => one.study)).size, patients = new Set(questions.map((one) => one.patient)).size;
  fill(find("facts"), `${queue.file}: ${several(questions.length, "question")} about ${several(studies, "study", "studies")} of ${several(patients, "patient")}`);
  find("banner").hidden = synthetic === "none";
  fill(find("banner"), synthetic === "all" ? "Phantom: synthetic studies" : "Some of these studies are synthetic phantoms");
  const kinds = new Map();
  for (const question of questions) for (const kind of question.kinds) kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
  const chosen = find("flag").value;
  fill(find("flag"), make("option", { value: "" }, "any"),
    [...kinds].sort(([one], [other]) => one.localeCompare(other)).map(([kind, number]) => make("option", { value: kind }, `${kind.replaceAll("_", " ")} (${count(number)})`)));
  find("flag").value = kinds.has(chosen) ? chosen : "";
  showElsewhere();
  showProgress();
}

function showElsewhere() {
  const lost = queue.overwritten.length;
  fill(find("elsewhere"),
    queue.open_elsewhere ? make("p", { class: "warning" }, `${queue.file} is open in a spreadsheet. Close it there before it is saved: it would put its older state over the answers given here.`) : null,
    lost ? make("p", { class: "warning" }, `${several(lost, "answer")} given here ${lost === 1 ? "is" : "are"} no longer in the file: another program has saved over ${lost === 1 ? "it" : "them"}.`,
      make("button", { type: "button", onclick: () => settle(true) }, "Write mine again"),
      make("button", { type: "button", onclick: () => settle(false) }, "Keep the file's")) : null);
}

async function settle(write) {
  try {
    queue = await call("api/overwritten", { json: { reviewer: reviewer(), write } });
  } catch (error) {
    fill(find("problem"), error.message);
    return;
  }
  showFacts();
  showAnswer();
  showAnsweredLabels();
}

function showProgress() {
  const counted = queue.questions.filter((one) => !one.superseded);
  const mine = counted.filter((one) => one.mine.decision).length, any = counted.filter((one) => one.mine.decision || one.others).length;
  find("progress").max = Math.max(counted.length, 1);
  find("progress").value = mine;
  fill(find("progress-text"), `${count(mine)} of ${count(counted.length)} answered by you, ${count(any)} by anyone`);
  const list = matching(), place = list.findIndex((one) => one.question === at);
  fill(find("place"), place < 0 ? `${count(list.length)} shown` : `${count(place + 1)} of ${count(list.length)}`);
  find("nothing").hidden = list.length > 0;
  if (!list.length) fill(find("nothing"), !queue.questions.length ? "The queue has no question." : mine && mine === counted.length ? "You have answered every question. Run curate again to take the answers in." : "No question is left with these filters.");
}

function matching() {
  const kind = find("flag").value, show = find("show").value;
  return queue.questions.filter((one) => (!kind || one.kinds.includes(kind))
    && (show === "all" || (show === "mine" ? one.mine.decision : !one.superseded && !one.mine.decision && (show === "mine-open" || !one.others))));
}

// the next question of the list in a direction, over its end too; undefined if there is no other
function neighbour(step) {
  const order = queue.questions, list = new Set(matching());
  const from = order.findIndex((one) => one.question === at);
  for (let away = 1; away < order.length; away++) {
    const one = order[(from + step * away + order.length * 2) % order.length];
    if (list.has(one)) return one;
  }
  return undefined;
}

async function move(step) {
  const next = queue && neighbour(step);
  if (next) await open(next);
}

// --- the question

async function open(question) {
  keepDraft();
  at = question?.question ?? null;
  details = null;
  find("question").hidden = !question;
  showProgress();
  if (!question) return;
  history.replaceState(null, "", `#${at}`);
  const of = at;
  fill(find("title"), question.study);
  const others = queue.questions.filter((one) => one.patient === question.patient && one !== question);
  fill(find("patient"), question.patient === question.study ? "patient unknown" : `patient ${question.patient}`,
    others.length ? [" · also in the queue:", ...others.map((one) => make("button", { type: "button", onclick: () => open(one) }, one.study))] : null,
    question.others ? ` · answered by ${several(question.others, "other reviewer")}` : null);
  fill(find("flags"));
  fill(find("texts"), make("p", { class: "soft" }, "Loading …"));
  find("correcting").hidden = true;
  showAnswer();
  showAnsweredLabels();
  window.scrollTo({ top: 0 });
  showVolume(of).then(() => { const next = at === of && neighbour(1); if (next) warm(next.question); });
  let loaded;
  try {
    loaded = await call("api/question", { query: { question: of } });
  } catch (error) {
    if (at === of) fill(find("texts"), make("p", { class: "error", role: "alert" }, error.message));
    return;
  }
  if (at !== of) return;
  details = loaded;
  showTexts(details, question.superseded);
  showAnswer();
  showAnsweredLabels();
  if (drafts.has(at) || byName(at)?.mine.decision === "correct") showCorrection();
}

// the reviewer's own answer to the question that is shown, and what can be done
function showAnswer() {
  const question = byName(at);
  if (!question) return;
  const { decision, labels } = question.mine;
  for (const name of ["accept", "reject", "correct"]) {
    find(name).disabled = saving || !details || (name === "accept" && question.failed);
    find(name).setAttribute("aria-pressed", String(decision === name));
  }
  find("accept").title = question.failed ? "A failed translation cannot be accepted: correct it, or reject the study" : "key a";
  find("undo").disabled = saving || !undoable.length;
  find("withdraw").hidden = !decision;
  fill(find("decided"), question.failed && !decision ? "A failed translation cannot be accepted: correct it, or reject the study." : null,
    decision ? `Your answer: ${decision}${labels === null ? "" : `, labels ${labels.join(", ") || "no finding"}`}. It is in ${queue.file}.` : null);
}

// those of the answer that is given; labels of one that is not are kept until the question is left
function showAnsweredLabels() {
  showLabels(byName(at)?.mine.labels ?? null, details ? [...new Set([...details.labels, ...details.archive_labels])] : []);
}

function showCorrection() {
  const question = byName(at);
  find("corrected").value = drafts.get(at) ?? (question.mine.corrected || (question.failed ? "" : details.report.text));
  find("correcting").hidden = false;
  find("correct").setAttribute("aria-expanded", "true");
}

function keepDraft() {
  if (!at || find("correcting").hidden || !details) return;
  const text = find("corrected").value, { corrected } = byName(at)?.mine ?? NOTHING;
  if (text.trim() && text !== corrected && text !== details.report.text) drafts.set(at, text);
  else drafts.delete(at);
}

// --- answers

async function write(name, answer, before) {
  if (!reviewer()) {
    find("reviewer").classList.add("missing");
    find("reviewer").focus();
    fill(find("status"), "Write your name first: every answer has its reviewer.");
    return null;
  }
  if (saving) return null;
  saving = true;
  showAnswer();
  try {
    return await call("api/answer", { json: { question: name, reviewer: reviewer(), answer, before } });
  } catch (error) {
    refused = error.status;
    fill(find("status"));
    fill(find("problem"), error.message);
    if (error.status === 409) {
      await loadQueue();
      fill(find("problem"), error.message);
    }
    return null;
  } finally {
    saving = false;
    showAnswer();
  }
}

// takes in what an answer has changed; true if another program has changed the file meanwhile
function take(done) {
  fill(find("problem"));
  const foreign = done.revision_before !== queue.revision;
  queue.questions = queue.questions.map((one) => (one.question === done.question.question ? done.question : one));
  queue.revision = done.revision;
  queue.open_elsewhere = done.open_elsewhere;
  showElsewhere();
  return foreign;
}

async function answer(decision, corrected = "") {
  const question = byName(at);
  if (!details || !question || (decision === "accept" && question.failed)) return;
  const given = { decision, corrected, labels: decision ? labelsNow() : null }, before = question.mine, who = reviewer();
  const relabelled = decision && decision === before.decision && corrected === before.corrected;
  const done = await write(at, given, before);
  if (!done) return;
  undoable.push({ question: question.question, reviewer: who, before, after: given });
  drafts.delete(question.question);
  const foreign = take(done);
  if (foreign) await loadQueue();
  fill(find("status"), `${decision ? DONE[decision] : "Your answer is taken back"}: ${question.study}. On the disk in ${queue.file}.`,
    foreign ? " Another program had changed the file; the list was read again." : null);
  if (!decision || relabelled || at !== question.question) {
    showProgress();
    showAnswer();
    if (at === question.question) showAnsweredLabels();
    return;
  }
  find("correcting").hidden = true;
  const next = neighbour(1);
  if (next) await open(next);
  else { showProgress(); showAnswer(); }
}

async function undo() {
  const last = undoable.at(-1);
  if (!last || saving) return;
  if (last.reviewer !== reviewer()) {
    fill(find("status"), `The last answer is ${last.reviewer}'s: put that name in to undo it.`);
    return;
  }
  const done = await write(last.question, last.before, last.after);
  if (done || refused === 409) undoable.pop();
  if (!done) { showAnswer(); return; }
  if (take(done)) await loadQueue();
  await open(byName(last.question));
  fill(find("status"), `Undone: ${byName(last.question).study} ${last.before.decision ? `is ${last.before.decision} again` : "is open again"}.`);
}

function saveCorrection() {
  const text = find("corrected").value;
  if (!text.trim()) fill(find("status"), "Write the corrected text first.");
  else if (text === details?.report.text) fill(find("status"), "This is the text in question, unchanged: accept it, or correct it.");
  else answer("correct", text);
}

function correct() {
  if (!details) return;
  if (find("correcting").hidden) showCorrection();
  find("corrected").focus();
}

// --- keys

const KEYS = {
  j: () => move(1), ArrowRight: () => move(1), k: () => move(-1), ArrowLeft: () => move(-1),
  a: () => answer("accept"), r: () => answer("reject"), c: correct, u: undo,
};

const MOVES = ["j", "k", "ArrowRight", "ArrowLeft"];

function onKey(event) {
  if (event.target === find("corrected")) {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) saveCorrection();
    if (event.key === "Escape") find("title").focus();
    return;
  }
  if (event.target.matches?.("input[type=text], input[type=password], select, textarea")) {
    if (event.key === "Escape") find("title").focus();
    return;
  }
  if (event.ctrlKey || event.altKey || event.metaKey || !queue || document.querySelector("dialog[open]")) return;
  if (event.target.matches?.("input[type=range]") && event.key.startsWith("Arrow")) return;
  if (windowKey(event.key)) return;
  const action = KEYS[event.key];
  if (!action) return;
  event.preventDefault();
  // a key that is held down moves on, but decides nothing
  if (!event.repeat || MOVES.includes(event.key)) action();
}

function setUp() {
  find("reviewer").value = localStorage.getItem(REVIEWER_KEY) ?? "";
  find("reviewer").addEventListener("change", () => {
    const known = queue?.reviewers.find((name) => name.toLowerCase() === reviewer().toLowerCase());
    if (known) find("reviewer").value = known; // another spelling would be another reviewer
    localStorage.setItem(REVIEWER_KEY, reviewer());
    find("reviewer").classList.toggle("missing", !reviewer());
    fill(find("status"));
    loadQueue();
  });
  for (const name of ["show", "flag"]) {
    find(name).addEventListener("change", () => {
      const list = matching();
      if (list.length && !list.some((one) => one.question === at)) open(list[0]);
      else showProgress();
    });
  }
  find("previous").addEventListener("click", () => move(-1));
  find("next").addEventListener("click", () => move(1));
  find("accept").addEventListener("click", () => answer("accept"));
  find("reject").addEventListener("click", () => answer("reject"));
  find("correct").addEventListener("click", correct);
  find("undo").addEventListener("click", undo);
  find("withdraw").addEventListener("click", () => answer(""));
  find("save-correction").addEventListener("click", saveCorrection);
  setUpPictures();
  // labels of an answer that is given already are saved with it
  setUpLabels(() => { const { decision, corrected } = byName(at)?.mine ?? NOTHING; if (decision) answer(decision, corrected); });
  document.addEventListener("keydown", onKey);
  window.addEventListener("focus", () => { if (queue && !saving) loadQueue(); });
  window.addEventListener("beforeunload", (event) => { keepDraft(); if (drafts.size) event.preventDefault(); });
  loadQueue();
}

setUp();
