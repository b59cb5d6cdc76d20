"""A model server that plays a script per model and records what it is asked."""

import http.server
import json
import socket
import threading
import time


class Upstream:
    """Listens on a port of its own. Every call takes the next line of its model's script; the last line stays."""

    def __init__(self):
        self.lock = threading.Lock()
        self.released = threading.Event()
        self.reset({})
        upstream = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                upstream.serve(self)

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                # Callers hang up on purpose: time limits are what is compared.
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        self.base = f"http://127.0.0.1:{self.server.server_address[1]}/v1"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def reset(self, scripts):
        self.released.set()
        with self.lock:
            self.released = threading.Event()
            self.scripts = {model: list(lines) for model, lines in scripts.items()}
            self.calls = []

    def take_calls(self):
        with self.lock:
            calls, self.calls = self.calls, []
            return calls

    def serve(self, request):
        body = json.loads(request.rfile.read(int(request.headers.get("content-length", 0))) or b"{}")
        model = body.get("model")
        with self.lock:
            self.calls.append(body)
            lines = self.scripts.get(model) or [{}]
            line = lines.pop(0) if len(lines) > 1 else lines[0]
            released = self.released
        if line.get("hang"):
            # Until the caller has given up and the scenario is over.
            released.wait(60)
            request.close_connection = True
            return
        if "reset" in line:
            request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            request.connection.close()
            request.close_connection = True
            return
        status = line.get("status", 200)
        if status != 200:
            answer = {"error": {"message": "no", "type": "server_error", "code": None, "param": None} | line.get("error", {})}
        elif request.path.endswith("/embeddings"):
            answer = embedding(model, body)
        elif body.get("stream"):
            return self.stream(request, model, line)
        else:
            answer = completion(model, line)
        send(request, status, "application/json", json.dumps(answer).encode(), line.get("headers", {}))

    def stream(self, request, model, line):
        frames = [chunk(model, {"role": "assistant", "content": ""})]
        if "stream_error" in line:
            frames += [chunk(model, {"content": text}) for text in line.get("before", [])]
            frames.append({"error": {"message": "no", "type": "server_error"} | line["stream_error"]})
        else:
            frames += [chunk(model, {"content": line.get("content", model)}), chunk(model, {}, "stop")]
        text = "".join(f"data: {json.dumps(frame)}\n\n" for frame in frames)
        if "stream_error" not in line:
            text += "data: [DONE]\n\n"
        send(request, 200, "text/event-stream", text.encode(), line.get("headers", {}))


def send(request, status, kind, data, headers):
    request.send_response(status)
    for name, value in {"content-type": kind, "content-length": len(data), **headers}.items():
        request.send_header(name, str(value))
    request.end_headers()
    request.wfile.write(data)


def completion(model, line):
    message = {"role": "assistant", "content": line.get("content", model)}
    choice = {"index": 0, "message": message, "finish_reason": line.get("finish_reason", "stop")}
    usage = {"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30}
    return {"id": "chatcmpl-1", "object": "chat.completion", "created": int(time.time()), "model": model, "choices": [choice], "usage": usage}


def chunk(model, delta, finish=None):
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": model, "choices": [choice]}


def embedding(model, body):
    texts = body["input"] if isinstance(body["input"], list) else [body["input"]]
    data = [{"object": "embedding", "index": index, "embedding": [0.5, 0.25]} for index in range(len(texts))]
    return {"object": "list", "model": model, "data": data, "usage": {"prompt_tokens": 1, "total_tokens": 1}}
