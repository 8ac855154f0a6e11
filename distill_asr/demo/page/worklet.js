"use strict";
// Microphone samples to the page, 100 ms at a time, as 16-bit little-endian numbers.
class Recorder extends AudioWorkletProcessor {
  constructor() {
    super();
    this.samples = new Int16Array(Math.round(sampleRate / 10));
    this.filled = 0;
    this.port.onmessage = () => this.send();
  }

  send() {
    const part = this.samples.slice(0, this.filled);
    this.port.postMessage(part.buffer, [part.buffer]);
    this.filled = 0;
  }

  process([channels]) {
    for (let i = 0; channels.length && i < channels[0].length; i++) {
      const mean = channels.reduce((sum, channel) => sum + channel[i], 0) / channels.length;
      this.samples[this.filled++] = Math.max(-32768, Math.min(32767, Math.round(32768 * mean)));
      if (this.filled === this.samples.length) this.send();
    }
    return true;
  }
}
registerProcessor("recorder", Recorder);
