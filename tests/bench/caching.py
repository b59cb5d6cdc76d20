"""Answers from the cache in memory, beside nginx serving a file of the same size to the same requests."""

import http.client
import json

from contenders import Nginx, Witgate
from load import body

GOAL = 0.6


class StaticNginx(Nginx):
    """The answer as a file. A POST to a file is a 405, which leads to the file all the same."""

    CONFIG = """
daemon off;
worker_processes auto;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    keepalive_requests 1000000;
    open_file_cache max=10;
    default_type application/json;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port} backlog=1024;
        root {folder}/files;
        error_page 405 =200 $uri;
    }}
}}
"""

    def __init__(self, upstream, scratch, answer):
        super().__init__(upstream, scratch)
        self.name, self.folder, self.answer = "nginx, a file", scratch / "nginx-file", answer

    def start(self):
        file = self.folder / "files/v1/chat/completions"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(self.answer)
        # Its workers may run as somebody else.
        for folder in (self.folder.parent, self.folder, *file.parents):
            if self.folder.parent in (folder, *folder.parents):
                folder.chmod(0o755)
        super().start()


class CachingWitgate(Witgate):
    """A model list and a cache in memory."""

    MODELS = Witgate.MODELS + "litellm_settings: {{cache: true, cache_params: {{type: local}}}}\n"

    def __init__(self, binary, upstream, scratch, keeps_rows):
        super().__init__("bare", binary, upstream, scratch, folder=f"witgate-caching-{keeps_rows}")
        self.name = "Witgate, a hit" + (" with its spend row" if keeps_rows else "")
        if not keeps_rows:
            self.MODELS = self.MODELS + "general_settings: {{disable_spend_logs: true, disable_spend_updates: true}}\n"

    def hit(self):
        """The kept answer, once there is one."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=30)
        headers = {"content-type": "application/json", "authorization": f"Bearer {self.key}"}
        for _ in range(100):
            connection.request("POST", "/v1/chat/completions", json.dumps(body(stream=False)), headers)
            response = connection.getresponse()
            text = response.read().decode()
            if response.status == 200 and response.getheader("x-litellm-cache-key"):
                return text
        raise RuntimeError(f"no hit of the cache: {response.status} {text[:300]}")


def caching(release, upstream, scratch, throughput):
    """Rows of nginx, of hits and of hits that the ledger has a row of; and how many hits there are for one file.

    nginx writes nothing down (`access_log off`), so it is the hits without a row that are compared.
    """
    gateways = [CachingWitgate(release / "witgate", upstream, scratch, keeps_rows) for keeps_rows in (False, True)]
    contenders = []
    try:
        for gateway in gateways:
            contenders.append(gateway)
            gateway.start()
            answer = gateway.hit()
        contenders.insert(0, StaticNginx(upstream, scratch, answer))
        contenders[0].start()
        rows = throughput(contenders)
    finally:
        for contender in contenders:
            contender.stop()
    rate = lambda contender: rows[contender.name]["at_32"]["per_second"]
    return {"rows": rows, "ratio": rate(gateways[0]) / rate(contenders[0])}
