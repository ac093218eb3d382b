// Browsers refuse workers to pages that are opened from a disk. There an unseen frame of the page
// does the work of the search, so that it works without a server and without a network.
if (location.protocol === "file:") {
  window.IFrameWorker = class extends EventTarget {
    constructor(url) {
      super()
      this.waiting = []
      const frame = document.createElement("iframe")
      frame.hidden = true
      document.body.append(frame)
      this.inner = frame.contentWindow
      this.inner.postMessage = data => this.dispatchEvent(new MessageEvent("message", { data }))
      const script = this.inner.document.createElement("script")
      script.src = url
      script.onload = () => {
        const waiting = this.waiting
        this.waiting = null
        waiting.forEach(data => this.send(data))
      }
      this.inner.document.body.append(script)
    }
    send(data) {
      this.inner.dispatchEvent(new this.inner.MessageEvent("message", { data }))
    }
    postMessage(data) {
      this.waiting ? this.waiting.push(data) : this.send(data)
    }
    terminate() {}
  }
  window.Worker = window.IFrameWorker
}
