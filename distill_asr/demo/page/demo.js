"use strict";
// Words go into the page as text nodes only, never as markup.
const $ = (id) => document.getElementById(id);
const students = new Map();
let server = null, recording = null;

function say(text) {
  $("status").textContent = text;
}

function make(tag, text, name) {
  const element = document.createElement(tag);
  element.textContent = text;
  if (name) element.className = name;
  return element;
}

async function start() {
  server = await (await fetch("students")).json();
  for (const { name, how } of server.students) {
    const box = make("div", "", "student"), words = make("p", "", "words"), latency = make("small", "");
    latency.className = "latency";
    box.append(make("h2", name), make("small", how), words, latency);
    $("students").append(box);
    students.set(name, { words, latency, done: "", delays: [] });
  }
  document.body.dataset.ready = "true";
}

function show({ student, text, heard, final, computed_ms: computed }) {
  const one = students.get(student), arrived = performance.now();
  const sent = recording.sent.find(([seconds]) => seconds >= heard - 1e-6) || recording.sent[recording.sent.length - 1];
  one.words.replaceChildren(make("span", one.done), make("span", text, final ? "" : "open"));
  if (final && text) one.done += `${text} `;
  if (sent && text) {
    one.delays.push(arrived - sent[1]);
    const middle = [...one.delays].sort((a, b) => a - b)[one.delays.length >> 1];
    one.latency.textContent = `latency ${Math.round(arrived - sent[1])} ms (median ${Math.round(middle)} ms), computed in ${Math.round(computed)} ms`;
  }
}

// A connection that takes samples; ends when the server has given its last words.
function connect() {
  for (const one of students.values()) {
    one.words.replaceChildren();
    one.latency.textContent = "";
    Object.assign(one, { done: "", delays: [] });
  }
  const socket = new WebSocket(`ws://${location.host}/listen`), begun = { socket, sent: [], seconds: 0 };
  socket.binaryType = "arraybuffer";
  begun.opened = new Promise((resolve, reject) => {
    socket.onopen = resolve;
    socket.onerror = () => reject(new Error("the program on this machine does not answer"));
  });
  begun.over = new Promise((resolve) => { socket.onclose = resolve; });
  socket.onmessage = ({ data }) => {
    const message = JSON.parse(data);
    if (!message.done) return show(message);
    say(message.problem || "Done.");
    socket.close();
  };
  begun.send = (buffer) => {
    if (socket.readyState !== WebSocket.OPEN || !buffer.byteLength) return;
    begun.seconds += buffer.byteLength / 2 / server.rate;
    begun.sent.push([begun.seconds, performance.now()]);
    socket.send(buffer);
  };
  begun.end = () => { if (socket.readyState === WebSocket.OPEN) socket.send("end"); };
  return begun;
}

async function speak() {
  if (recording) return recording.stop && recording.stop();
  recording = connect();
  const here = recording;
  let stream = null, audio = null;
  try {
    // as it is: what browsers do to please ears was in no training audio
    const raw = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    stream = await navigator.mediaDevices.getUserMedia({ audio: raw });
    audio = new AudioContext({ sampleRate: server.rate });  // the browser resamples
    await audio.audioWorklet.addModule("worklet.js");
    await here.opened;
    const recorder = new AudioWorkletNode(audio, "recorder");
    recorder.port.onmessage = ({ data }) => here.send(data);
    audio.createMediaStreamSource(stream).connect(recorder);
    here.stop = () => {
      recorder.port.postMessage("rest");
      setTimeout(here.end, 50);
    };
    $("speak").textContent = "Stop";
    $("speak").className = "on";
    say("Listening ...");
    await here.over;
  } catch (error) {
    say(String(error.message || error));
    here.socket.close();
  } finally {
    if (stream) stream.getTracks().forEach((track) => track.stop());
    if (audio) await audio.close();
    $("speak").textContent = "Speak";
    $("speak").className = "";
    recording = null;
  }
}

async function listenTo(file) {
  if (recording || !file) return;
  recording = connect();
  const here = recording;
  try {
    say(`Reading ${file.name} ...`);
    const decoder = new OfflineAudioContext(1, 1, server.rate);  // decodes to the students' rate
    const decoded = await decoder.decodeAudioData(await file.arrayBuffer());
    await here.opened;
    const channels = Array.from({ length: decoded.numberOfChannels }, (_, i) => decoded.getChannelData(i));
    const piece = Math.round(server.rate / 2), most = Math.ceil(server.seconds * server.rate);
    say(`Recognising ${file.name} ...`);
    for (let from = 0; from < Math.min(decoded.length, most); from += piece) {
      const samples = new Int16Array(Math.min(piece, decoded.length - from));
      for (let i = 0; i < samples.length; i++) {
        const mean = channels.reduce((sum, channel) => sum + channel[from + i], 0) / channels.length;
        samples[i] = Math.max(-32768, Math.min(32767, Math.round(32768 * mean)));
      }
      here.send(samples.buffer);
    }
    here.end();
    await here.over;
  } catch (error) {
    say(`${file.name}: ${error.message || error}`);
    here.socket.close();
  } finally {
    recording = null;
  }
}

$("speak").onclick = speak;
$("file").onchange = () => listenTo($("file").files[0]);
document.ondragover = (event) => event.preventDefault();
document.ondrop = (event) => {
  event.preventDefault();
  listenTo(event.dataTransfer.files[0]);
};
start().catch((error) => say(String(error)));
